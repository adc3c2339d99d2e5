import type { SourceText } from './text.ts'
import { printable } from './words.ts'

const widthMax = 100
/** Characters kept before the column when the line is too long for all of them. */
const beforeMax = 60
/** How far from the column a secret may begin that reaches into what is shown. */
const secretReach = 4_096

/**
 * The line that holds `offset`, at most 100 characters of it, and a caret that stands under
 * `offset`. Cut ends are marked `…`.
 */
export function excerptAt(source: SourceText, offset: number): { line: string; caret: string } {
  const { start, end } = source.lineAround(offset)
  const at = Math.min(offset, end)
  const from = Math.max(start, at - secretReach)
  const text = withoutSecrets(source.text.slice(from, Math.min(end, at + secretReach)))
  // Two units are enough for any character, so these windows hold more than is shown.
  const before = characters(text.slice(Math.max(0, at - from - 2 * widthMax), at - from))
  const after = characters(text.slice(at - from, at - from + 2 * widthMax))
  const room = widthMax - Math.min(before.length, beforeMax)
  const isWhole = before.length + after.length <= widthMax
  const left = isWhole || before.length <= beforeMax ? before : clipLeft(before)
  const right = isWhole || after.length <= room ? after : clipRight(after, room)
  const shown = printable(left.join(''))
  return { line: (shown + printable(right.join(''))).trimEnd(), caret: `${blankFor(shown)}^` }
}

const secret =
  /("(?:pass|password|id|secret|token|privateKey|mldsa65Seed|seed)"\s*:\s*")((?:[^"\\]|\\.)*)/gi

/** Passwords and keys as stars, as many as they have characters: what is shown may end in a log. */
function withoutSecrets(line: string): string {
  return line.replace(secret, (_whole, before: string, hidden: string) => {
    return before + '*'.repeat(hidden.length)
  })
}

function characters(text: string): readonly string[] {
  return [...text]
}

function clipLeft(before: readonly string[]): readonly string[] {
  return ['…', ...before.slice(1 - beforeMax)]
}

function clipRight(after: readonly string[], room: number): readonly string[] {
  return [...after.slice(0, room - 1), '…']
}

const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]/u
const markOnly = /\p{M}/u

/** Blanks as wide as a terminal shows `text`: wide characters take two cells, marks none. */
function blankFor(text: string): string {
  let blank = ''
  for (const character of text) {
    if (!markOnly.test(character)) blank += wide.test(character) ? '  ' : ' '
  }
  return blank
}
