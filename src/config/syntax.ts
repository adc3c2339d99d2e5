import { type Node, type ParseError, parseTree } from 'jsonc-parser'
import { limits } from './limits.ts'
import type { Place, Problems } from './problems.ts'
import { symbolText, textProblem } from './symbols.ts'
import type { SourceText } from './text.ts'
import { blankHashComments, outline, type Unpaired } from './tokens.ts'
import { printable } from './words.ts'

/** The error codes of jsonc-parser; its own list is a `const enum`. */
const Code = {
  symbol: 1,
  number: 2,
  key: 3,
  value: 4,
  colon: 5,
  comma: 6,
  closeBrace: 7,
  closeBracket: 8,
  afterEnd: 9,
  comment: 11,
  openText: 12,
} as const

/**
 * Parses JSON with comments (`//`, `/* *\/`, `#`) and trailing commas. Tells every syntax error and
 * answers `null` when there is one.
 */
export function parseSyntax(problems: Problems): Node | null {
  const { source } = problems
  if (source.text.length > limits.bytesMax) {
    problems.error(at(0), [], `the configuration is larger than ${bytesMaxText}`)
    return null
  }
  const text = blankHashComments(source.text)
  const shape = outline(text)
  if (shape.tooDeepAt !== null) {
    problems.error(at(shape.tooDeepAt), [], tooDeep)
    return null
  }
  if (shape.tooManyAt !== null) {
    problems.error(at(shape.tooManyAt), [], tooMany)
    return null
  }
  const errors: ParseError[] = []
  const root = shape.isShallow ? parseTree(text, errors, { allowTrailingComma: true }) : undefined
  tellAll(errors, shape.unpaired, problems)
  const isRight = root !== undefined && errors.length === 0 && shape.unpaired === null
  if (isRight) return root
  if (!problems.failed) problems.error(at(errors[0]?.offset ?? 0), [], 'this is not JSON')
  return null
}

export const bytesMaxText = '16 MiB'
const tooDeep = `objects and lists are nested deeper than ${String(limits.depthMax)} levels here`

const tooMany = `the configuration has more than ${String(limits.tokensMax)} words and marks`

function at(offset: number): Place {
  return { offset, end: offset + 1 }
}

/** Tells each mistake once: the parser goes on after an error and stumbles over the same place. */
function tellAll(errors: readonly ParseError[], unpaired: Unpaired | null, out: Problems): void {
  const { source } = out
  const openText = errors.find(one => isOpenText(one))
  const told = withoutEchoes(errors, source.text).filter(error => {
    if (unpaired === null) return true
    // Behind a bracket without partner the parser is lost; that bracket itself is told below.
    if (error.offset === unpaired.offset || error.offset > unpaired.reliableTo) return false
    return openText === undefined || error.offset <= openText.offset
  })
  for (const [index, error] of told.entries()) {
    const isFirst = index === 0 && unpaired === null
    if (!isFirst && (error.error === Code.afterEnd || error.offset >= source.text.length)) continue
    const end = error.offset + Math.max(1, error.length)
    out.error({ offset: error.offset, end }, [], sentence(error, source))
  }
  // A text or comment that is not closed swallows brackets: then they prove nothing.
  if (unpaired === null || openText !== undefined) return
  out.error(at(unpaired.offset), [], bracketText(unpaired, source))
}

/** The errors that are no mere consequence of the one before, one for each place. */
function withoutEchoes(errors: readonly ParseError[], text: string): readonly ParseError[] {
  const seen = new Set<number>()
  return errors.filter((error, index) => {
    const isNew = !seen.has(error.offset) && !isEcho(errors[index - 1], error, text)
    seen.add(error.offset)
    return isNew && error.error !== Code.closeBrace && error.error !== Code.closeBracket
  })
}

function isOpenText(error: ParseError): boolean {
  const code: number = error.error
  return code === Code.openText || code === Code.comment
}

/** Whether `error` only says that the parser did not get what `previous` spoilt. */
function isEcho(previous: ParseError | undefined, error: ParseError, text: string): boolean {
  if (previous === undefined) return false
  const code: number = error.error
  const before: number = previous.error
  if (before === Code.key && code === Code.value) return true
  if (before !== Code.symbol && before !== Code.openText) return false
  const between = text.slice(previous.offset + previous.length, error.offset)
  if (code === Code.symbol) return /^[ \t]*$/.test(between)
  return code >= Code.key && code <= Code.comma && /^\s*$/.test(between)
}

function bracketText(bracket: Unpaired, source: SourceText): string {
  const mark = printable(source.text.charAt(bracket.offset))
  if (mark === '{' || mark === '[') return `this "${mark}" is never closed`
  if (bracket.openedAt === null) return `this "${mark}" closes nothing`
  const opened = source.text.charAt(bracket.openedAt)
  const line = String(source.positionOf(bracket.openedAt).line)
  return `"${mark}" stands here while the "${opened}" of line ${line} is still open`
}

function sentence(error: ParseError, source: SourceText): string {
  const { text } = source
  const word = wordAt(text, error.offset)
  switch (error.error as number) {
    case Code.symbol:
      return symbolText(text, error.offset, error.length)
    case Code.number:
      return `${word} is not a number`
    case Code.key:
      if (word === '","') return 'this comma is one too many'
      return `a key in double quotes must stand here, not ${word}`
    case Code.value:
      return word === '' ? 'the configuration is empty' : `a value is missing before ${word}`
    case Code.colon:
      return `a ":" is missing before ${word}`
    case Code.comma:
      return commaText(text, error.offset, word)
    case Code.afterEnd:
      return `nothing may follow the end of the configuration, found ${word}`
    default:
      return textProblem(error.error, text.slice(error.offset, error.offset + error.length))
  }
}

function commaText(text: string, offset: number, word: string): string {
  if (word === '":"') return '":" does not belong here'
  if (/^\d\d/.test(text.slice(offset - 1, offset + 1))) return 'a number may not begin with 0'
  return `a comma is missing before ${word}`
}

/** The token at an offset as it is written, clipped; marks stand in quotes; empty at the end. */
function wordAt(text: string, offset: number): string {
  const found = /^(?:[{}[\],:]|"(?:[^"\\\r\n]|\\.){0,40}"?|[^\s{}[\],:"]{1,40})/.exec(
    text.slice(offset, offset + 100),
  )
  const word = printable(found?.[0] ?? '')
  return /^[{}[\],:]$/.test(word) ? `"${word}"` : word
}
