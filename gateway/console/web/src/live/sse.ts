/** One message of a text/event-stream. */
export interface Message {
  name: string
  data: string
}

/**
 * reader takes the stream in pieces, as they come, and gives what is complete in
 * them. The browser's own EventSource hides comment lines, which alone show that
 * a quiet connection is alive, and the status of a refusal.
 */
export function reader(): (piece: string) => Message[] {
  let rest = ''
  let name = ''
  let data: string[] = []
  return (piece) => {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    const complete: Message[] = []
    for (const line of lines) {
      if (line === '') {
        if (data.length) complete.push({ name: name || 'message', data: data.join('\n') })
        name = ''
        data = []
      } else if (line.startsWith('event: ')) name = line.slice(7)
      else if (line.startsWith('data: ')) data.push(line.slice(6))
    }
    return complete
  }
}

/** How the stream went: it was refused with a status, or broke off. */
export type End = { refused: number } | 'broken'

/**
 * follow reads address until signal aborts, the stream ends or nothing at all has
 * come for silence ms; the gateway sends at least a comment every 5 s.
 */
export async function follow(address: string, each: (m: Message) => void, signal: AbortSignal, silence = 12_000): Promise<End> {
  const own = new AbortController()
  const stop = () => own.abort()
  signal.addEventListener('abort', stop)
  let timer = setTimeout(stop, silence)
  try {
    const answer = await fetch(address, { signal: own.signal, cache: 'no-store', headers: { Accept: 'text/event-stream' } })
    if (!answer.ok || !answer.body) return { refused: answer.status }
    const read = reader()
    const text = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await text.read()
      if (done) return 'broken'
      clearTimeout(timer)
      timer = setTimeout(stop, silence)
      read(value).forEach(each)
    }
  } catch {
    return 'broken'
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    own.abort()
  }
}
