import { createScanner } from 'jsonc-parser'
import { limits } from './limits.ts'

/** The kinds of token the scanner of jsonc-parser tells apart; its own list is a `const enum`. */
const Token = {
  openBrace: 1,
  closeBrace: 2,
  openBracket: 3,
  closeBracket: 4,
  end: 17,
} as const

/** What is wrong with a text as a whole, found without recursion, so at any depth and size. */
export interface Outline {
  /** The bracket that opens one level too many. */
  readonly tooDeepAt: number | null
  /** The token that is one too many. */
  readonly tooManyAt: number | null
  /** The first bracket without its partner. */
  readonly unpaired: Unpaired | null
  /** A parser that recurses may read this text. */
  readonly isShallow: boolean
}

export interface Unpaired {
  readonly offset: number
  /** The bracket it meets instead of its own; `null` when it stands alone. */
  readonly openedAt: number | null
  /** Up to here the brackets can be believed. */
  readonly reliableTo: number
}

interface Open {
  readonly kind: number
  readonly offset: number
}

/** Walks over the tokens of `text` once, counts them and their levels, and pairs brackets. */
export function outline(text: string): Outline {
  const scanner = createScanner(text, true)
  const open: Open[] = []
  let unpaired: Unpaired | null = null
  let tokens = 0
  for (let kind: number = scanner.scan(); kind !== Token.end; kind = scanner.scan()) {
    const offset = scanner.getTokenOffset()
    tokens += 1
    if (tokens > limits.tokensMax) return spoiled({ tooManyAt: offset })
    if (kind === Token.closeBrace || kind === Token.closeBracket) {
      // Only a matching bracket closes: so this never counts fewer levels than the parser enters.
      if (open.at(-1)?.kind === kind - 1) open.pop()
      else unpaired ??= { offset, openedAt: open.at(-1)?.offset ?? null, reliableTo: offset }
      continue
    }
    if (kind !== Token.openBrace && kind !== Token.openBracket) continue
    open.push({ kind, offset })
    // After an unpaired bracket the count may be too high: then that bracket is the thing to tell.
    if (open.length > limits.depthMax) {
      return unpaired === null ? spoiled({ tooDeepAt: offset }) : spoiled({ unpaired })
    }
  }
  const last = open.at(-1)
  if (last !== undefined) {
    unpaired ??= { offset: last.offset, openedAt: null, reliableTo: text.length }
  }
  return { tooDeepAt: null, tooManyAt: null, unpaired, isShallow: true }
}

function spoiled(found: Partial<Outline>): Outline {
  return { tooDeepAt: null, tooManyAt: null, unpaired: null, ...found, isShallow: false }
}

/**
 * Replaces comments that begin with `#`, which Xray allows and jsonc-parser does not know, by blanks:
 * every other character keeps its offset.
 */
export function blankHashComments(text: string): string {
  if (!text.includes('#')) return text
  const parts: string[] = []
  let copied = 0
  let at = 0
  while (at < text.length) {
    const end = skipOne(text, at)
    if (text[at] === '#') {
      parts.push(text.slice(copied, at), ' '.repeat(end - at))
      copied = end
    }
    at = end
  }
  parts.push(text.slice(copied))
  return parts.join('')
}

/** The end of the string or comment that begins at `at`, else of the one character there. */
function skipOne(text: string, at: number): number {
  const character = text[at]
  if (character === '"') return endOfString(text, at)
  if (character === '#') return endOfLine(text, at)
  if (character !== '/') return at + 1
  if (text[at + 1] === '/') return endOfLine(text, at)
  if (text[at + 1] !== '*') return at + 1
  const close = text.indexOf('*/', at + 2)
  return close === -1 ? text.length : close + 2
}

/** A string ends with its quote or, unclosed, with its line. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const character = text[at]
    if (character === '"') return at + 1
    if (character === '\n' || character === '\r') return at
    if (character === '\\') at += 1
  }
  return text.length
}

function endOfLine(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    if (text[at] === '\n' || text[at] === '\r') return at
  }
  return text.length
}
