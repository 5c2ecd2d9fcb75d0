import { Problem, problemOf, unreachable } from './client'

/**
 * refusal says why the gateway does not give a file of evidence that a page could not show: its reason, or that it
 * cannot be reached. Undefined where the file is there and whole, so that it is the browser that cannot show it.
 */
export async function refusal(address: string): Promise<Problem | undefined> {
  try {
    const answer = await fetch(address, { credentials: 'same-origin', headers: { Range: 'bytes=0-0' } })
    return answer.ok ? undefined : problemOf(answer.status, await answer.text())
  } catch {
    return unreachable()
  }
}
