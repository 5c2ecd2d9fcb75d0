import type { components } from './schema.gen'

export type Schemas = components['schemas']

/** What the gateway says is wrong, in both languages; see ProblemBody in openapi.yaml. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly zh: string,
    readonly en: string,
    readonly fields: Schemas['FieldProblem'][] = [],
  ) {
    super(en)
  }

  /** The sentence in the reader's language. */
  text(locale: string): string {
    return locale.startsWith('zh') ? this.zh : this.en
  }
}

/** No answer came. */
export const unreachable = () =>
  new Problem(0, 'unreachable', '无法连接网关，请检查网络后重试', 'the gateway cannot be reached; check the network and try again')

let signedOut: () => void = () => {}

/** Calls whenSignedOut each time the gateway says that the session has ended. */
export function onSignedOut(whenSignedOut: () => void): void {
  signedOut = whenSignedOut
}

/** One request below /api/v1. It throws a Problem for everything but success. */
export function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  return send<T>(method, path, body === undefined ? {} : { 'Content-Type': 'application/json' }, body === undefined ? undefined : JSON.stringify(body))
}

/** Sends a file to a path below /api/v1, as call sends JSON. */
export function upload<T>(path: string, type: string, file: Blob): Promise<T> {
  return send<T>('POST', path, { 'Content-Type': type }, file)
}

async function send<T>(method: string, path: string, headers: Record<string, string>, body: BodyInit | undefined): Promise<T> {
  let answer: Response
  try {
    answer = await fetch('/api/v1' + path, { method, headers, body, credentials: 'same-origin', cache: 'no-store' })
  } catch {
    throw unreachable()
  }
  if (answer.status === 204) return undefined as T
  const text = await answer.text()
  if (answer.ok) return JSON.parse(text) as T
  throw problemOf(answer.status, text)
}

// A problem of one field alone may name it at the top.
function fieldsOf(b: Schemas['Problem']): Schemas['FieldProblem'][] {
  if (b.errors?.length) return b.errors
  return b.field ? [{ field: b.field, code: b.code, zh: b.zh, en: b.en }] : []
}

/** problemOf reads the body of an answer that is no success. */
export function problemOf(status: number, text: string): Problem {
  let problem = new Problem(status, 'status_' + status, '网关答复异常（' + status + '）', 'unexpected answer (' + status + ')')
  try {
    const b = JSON.parse(text)
    problem = new Problem(status, b.code ?? problem.code, b.zh ?? problem.zh, b.en ?? problem.en, fieldsOf(b))
  } catch {
    // not a problem body; the status says all there is
  }
  if (status === 401 && problem.code !== 'wrong_password') signedOut()
  return problem
}
