import { call, Problem } from './client'

type Body = Record<string, unknown>

/** Whether the answer was lost or made by something in between: what was asked may have been done. */
export const unanswered = (e: unknown): boolean => e instanceof Problem && (e.status === 0 || e.status >= 500)

/**
 * holds says whether thing is what body asked for: all that body says stands in
 * it. Secrets are never told back and the version is the gateway's, so neither
 * counts; an instant may be written in several ways.
 */
export function holds(thing: unknown, body: unknown): boolean {
  if (isNothing(body)) return isNothing(thing) || thing === false || thing === 0
  if (Array.isArray(body)) return Array.isArray(thing) && thing.length === body.length && body.every((b, i) => holds(thing[i], b))
  if (typeof body === 'object') {
    const keys = Object.keys(body as Body).filter((k) => k !== 'password' && k !== 'version' && !k.endsWith('_at'))
    return keys.every((k) => holds((thing as Body | null | undefined)?.[k], (body as Body)[k]))
  }
  if (typeof body === 'string' && typeof thing === 'string') return thing === body.trim() || (instant.test(body) && Date.parse(thing) === Date.parse(body))
  return thing === body
}

const instant = /^\d{4}-\d\d-\d\dT/
const isNothing = (v: unknown) => v === undefined || v === null || v === '' || (typeof v === 'object' && Object.keys(v as object).length === 0)

/** The thing at path, undefined where there is none. */
export async function found<T>(path: string): Promise<T | undefined> {
  try {
    return await call<T>('GET', path)
  } catch (e) {
    if (e instanceof Problem && e.status === 404) return undefined
    throw e
  }
}

/**
 * createOnce makes the thing with the id that body gives. Where an earlier try
 * was not answered it looks first, so that nothing is made twice.
 */
export async function createOnce<T>(path: string, body: Body, triedBefore: boolean): Promise<{ thing: T; already: boolean }> {
  if (triedBefore) {
    const thing = await found<T>(`${path}/${String(body.id)}`)
    if (thing && holds(thing, body)) return { thing, already: true }
  }
  return { thing: await call<T>('POST', path, body), already: false }
}

/** replaceOnce replaces a thing: a version that has gone on is no conflict where it went on to just this. */
export async function replaceOnce<T>(path: string, body: Body, triedBefore: boolean): Promise<{ thing: T; already: boolean }> {
  try {
    return { thing: await call<T>('PUT', path, body), already: false }
  } catch (e) {
    if (!triedBefore || !(e instanceof Problem) || e.code !== 'version_changed') throw e
    const thing = await call<T>('GET', path)
    if (!holds(thing, body)) throw e
    return { thing, already: true }
  }
}
