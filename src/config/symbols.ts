import { nearest, printable } from './words.ts'

const wordMax = 40

/** What somebody meant who wrote a word or a character that JSON does not have. */
export function symbolText(text: string, offset: number, length: number): string {
  const start = wordStart(text, offset)
  const symbol = text.slice(start, offset + length)
  const word = printable(symbol.length > wordMax ? `${symbol.slice(0, wordMax)}…` : symbol)
  const [first = ''] = symbol
  if (first === "'" || first === '`') return 'text stands in double quotes, not in single ones'
  if (/[\u201c-\u201f\u00ab\u00bb\uff02\u2018-\u201b]/.test(first)) {
    return `text stands in straight double quotes, not in ${first}`
  }
  if (/^[-+]?(?:NaN|Infinity)\b/i.test(symbol) || symbol === '-') {
    return `${word} is not a number that JSON knows`
  }
  if (/^[\s\p{C}\p{Z}]/u.test(first)) {
    return `the invisible character ${codePoint(first)} does not belong here`
  }
  if (start === offset && /^\s*:/.test(text.slice(offset + length, offset + length + 100))) {
    return `the key ${word} must stand in double quotes`
  }
  const meant = keywordFor(symbol)
  if (meant !== null) return `${word} is no value of JSON, did you mean ${meant}?`
  return `${word} must stand in double quotes if it is text`
}

/** The scanner cuts `127.0.0.1` behind what looks like a number: the word begins before that. */
function wordStart(text: string, offset: number): number {
  let start = offset
  while (start > 0 && offset - start < wordMax && /[\d.+-]/.test(text.charAt(start - 1))) start -= 1
  return start
}

function codePoint(character: string): string {
  const code = character.codePointAt(0) ?? 0
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`
}

function keywordFor(symbol: string): string | null {
  if (/^(?:none|nil|undefined)$/i.test(symbol)) return 'null'
  return nearest(symbol, ['true', 'false', 'null'])
}

const escapes = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/g

/** What is wrong inside a text or comment; `code` is the error code of jsonc-parser. */
export function textProblem(code: number, token: string): string {
  switch (code) {
    case 11:
      return 'this comment is never closed, "*/" is missing'
    case 12:
      return 'this text is not closed, a double quote is missing at its end'
    case 13:
      return `the number ${printable(token.slice(0, wordMax))} is not complete`
    case 14:
    case 15:
      return badEscapeText(token)
    case 16:
      return controlText(token)
    default:
      return 'this is not JSON'
  }
}

function badEscapeText(token: string): string {
  const rest = token.replace(escapes, '')
  const start = rest.indexOf('\\')
  const bad = quotedRaw(rest.slice(start, start + (rest[start + 1] === 'u' ? 6 : 2)))
  return `${bad} is no escape of JSON; a backslash itself is written "\\\\"`
}

function quotedRaw(text: string): string {
  return `"${printable(text)}"`
}

function controlText(token: string): string {
  const found = /[\u0000-\u001f]/.exec(token)?.[0] ?? ''
  if (found === '\t') return 'a tab inside text is written "\\t"'
  return `the character ${codePoint(found)} inside text must be written as an escape`
}
