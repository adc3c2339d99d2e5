import { distance } from 'fastest-levenshtein'

/** The end of every sentence about something Xray knows and this version does not. */
export const notSupported = 'is not supported by this version of Sluice'

const quotedMax = 60
const suggestionDistanceMax = 2

/** Characters that would move, hide or reorder what a terminal shows. */
const unsafe =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

/** Text of the user in double quotes on one line, escaped as JSON does, clipped when long. */
export function quoted(text: string): string {
  const clipped = text.length > quotedMax ? `${text.slice(0, quotedMax)}…` : text
  return JSON.stringify(clipped).replace(unsafe, escaped)
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** Text of the user as it is, one character for one, with nothing in it that drives a terminal. */
export function printable(text: string): string {
  return text.toWellFormed().replaceAll('\t', ' ').replace(unsafe, '\ufffd')
}

/** What stands in the configuration instead of what was expected, for people. */
export function foundText(value: unknown): string {
  if (typeof value === 'string') return quoted(value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (value === null) return 'null'
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  return 'an object'
}

/** The known word that was probably meant: at most two letters away, or other in case only. */
export function nearest(word: string, known: Iterable<string>): string | null {
  let best: string | null = null
  let bestDistance = suggestionDistanceMax + 1
  const lower = word.toLowerCase()
  for (const candidate of known) {
    if (Math.abs(candidate.length - word.length) > suggestionDistanceMax) continue
    const away = distance(lower, candidate.toLowerCase())
    // Two letters of two are no resemblance.
    if (away >= Math.min(word.length, candidate.length) || away >= bestDistance) continue
    best = candidate
    bestDistance = away
  }
  return best
}

/** `, did you mean "settings"?`, or nothing when no known word is near. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const meant = nearest(word, known)
  return meant === null ? '' : `, did you mean ${quoted(meant)}?`
}

/** `"a", "b", "c"`. */
export function quotedList(words: readonly string[]): string {
  return words.map(word => quoted(word)).join(', ')
}
