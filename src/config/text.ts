/** Both count from 1; a column is a character (code point), a tab counts as one. */
export interface Position {
  readonly line: number
  readonly column: number
}

const byteOrderMark = 0xfeff
const lineFeed = 10
const carriageReturn = 13

/** A text and the name people know it by; turns offsets into lines and columns. */
export class SourceText {
  readonly name: string
  /** Without a byte order mark; every offset counts UTF-16 units of this. */
  readonly text: string
  #starts: readonly number[] | null = null
  /** Where the last question ended, so that many places of one long line cost one walk. */
  #mark: { readonly offset: number; readonly line: number; readonly column: number } | null = null

  constructor(name: string, text: string) {
    this.name = name
    this.text = text.charCodeAt(0) === byteOrderMark ? text.slice(1) : text
  }

  /** Offsets outside the text count as its nearest end. */
  positionOf(offset: number): Position {
    const at = this.#characterAt(Math.max(0, Math.min(offset, this.text.length)))
    const line = this.#lineIndex(at)
    const start = this.#lineStarts()[line] ?? 0
    const mark = this.#mark
    const goesOn = mark !== null && mark.line === line && mark.offset <= at
    const column = goesOn
      ? mark.column + countCharacters(this.text, mark.offset, at)
      : 1 + countCharacters(this.text, start, at)
    this.#mark = { offset: at, line, column }
    return { line: line + 1, column }
  }

  /** Where the line that holds `offset` begins and ends, without its line break. */
  lineAround(offset: number): { readonly start: number; readonly end: number } {
    const starts = this.#lineStarts()
    const line = this.#lineIndex(Math.max(0, Math.min(offset, this.text.length)))
    const start = starts[line] ?? 0
    let end = starts[line + 1] ?? this.text.length
    while (end > start && isLineBreak(this.text.charCodeAt(end - 1))) end -= 1
    return { start, end }
  }

  /** The text of a line counted from 1, without its line break; empty outside the text. */
  line(line: number): string {
    const start = this.#lineStarts()[line - 1]
    if (start === undefined) return ''
    const { end } = this.lineAround(start)
    return this.text.slice(start, end)
  }

  /** The start of the character that `offset` is in: the middle of a pair is no place. */
  #characterAt(offset: number): number {
    const isMiddle =
      isLowSurrogate(this.text.charCodeAt(offset)) &&
      isHighSurrogate(this.text.charCodeAt(offset - 1))
    return isMiddle ? offset - 1 : offset
  }

  #lineStarts(): readonly number[] {
    this.#starts ??= lineStarts(this.text)
    return this.#starts
  }

  #lineIndex(offset: number): number {
    const starts = this.#lineStarts()
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return low
  }
}

function isLineBreak(unit: number): boolean {
  return unit === lineFeed || unit === carriageReturn
}

/** A line ends with LF, CR LF or CR alone, as the scanner of the reader sees it. */
function lineStarts(text: string): readonly number[] {
  const starts = [0]
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (!isLineBreak(unit)) continue
    if (unit === carriageReturn && text.charCodeAt(at + 1) === lineFeed) at += 1
    starts.push(at + 1)
  }
  return starts
}

/** Code points between two offsets; a surrogate without its partner is one. */
function countCharacters(text: string, from: number, to: number): number {
  let count = 0
  for (let at = from; at < to; at++) {
    if (isHighSurrogate(text.charCodeAt(at)) && isLowSurrogate(text.charCodeAt(at + 1))) at += 1
    count += 1
  }
  return count
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}
