import type { Diagnostic, Severity } from './diagnostics.ts'
import { excerptAt } from './excerpt.ts'
import type { SourceText } from './text.ts'
import { quoted } from './words.ts'

/** A piece of a text: the first offset and the one after its last. */
export interface Place {
  readonly offset: number
  readonly end: number
}

/** Keys and list positions from the root of a configuration. */
export type Path = readonly (string | number)[]

/** More than so many diagnostics help nobody; the rest is counted. */
export const diagnosticsMax = 1_000

interface Problem {
  readonly severity: Severity
  readonly place: Place
  readonly path: Path
  readonly message: string
  readonly hint: string | undefined
}

/** Collects what is wrong with one text while it is read. */
export class Problems {
  readonly source: SourceText
  readonly #list: Problem[] = []
  #errors = 0

  constructor(source: SourceText) {
    this.source = source
  }

  /** True once there was an error; warnings do not count. */
  get failed(): boolean {
    return this.#errors > 0
  }

  error(place: Place, path: Path, message: string, hint?: string): void {
    this.#errors += 1
    this.#list.push({ severity: 'error', place, path, message, hint })
  }

  warning(place: Place, path: Path, message: string): void {
    this.#list.push({ severity: 'warning', place, path, message, hint: undefined })
  }

  /** All of them in file order, at most `diagnosticsMax` and one that counts the rest. */
  diagnostics(): readonly Diagnostic[] {
    const sorted = this.#list.toSorted((a, b) => a.place.offset - b.place.offset)
    const told = sorted.slice(0, diagnosticsMax).map(one => describe(this.source, one))
    const left = sorted.length - told.length
    if (left === 0) return told
    const isError = sorted.slice(diagnosticsMax).some(one => one.severity === 'error')
    const message = `${String(left)} more problems are not shown`
    return [...told, fileDiagnostic(this.source.name, message, isError ? 'error' : 'warning')]
  }
}

/** About a file as a whole, without a line. */
export function fileDiagnostic(
  file: string,
  message: string,
  severity: Severity = 'error',
  hint?: string,
): Diagnostic {
  const about = { severity, file, line: 0, column: 0, path: '', message }
  return hint === undefined ? about : { ...about, hint }
}

function describe(source: SourceText, problem: Problem): Diagnostic {
  const { place, severity, message, hint } = problem
  const { line, column } = source.positionOf(place.offset)
  const end = source.positionOf(place.end)
  return {
    severity,
    file: source.name,
    line,
    column,
    ...(end.line === line && end.column > column ? { endColumn: end.column } : {}),
    path: formatPath(problem.path),
    message,
    ...(hint === undefined ? {} : { hint }),
    excerpt: excerptAt(source, place.offset),
  }
}

const plainKey = /^[\p{L}\p{N}_$-]{1,100}$/u

/** `inbounds[0].settings.port`; keys that are no words stand in quotes: `levels["a b"]`. */
export function formatPath(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${String(step)}]`
    else if (!plainKey.test(step)) text += `[${quoted(step)}]`
    else text += text === '' ? step : `.${step}`
  }
  return text
}
