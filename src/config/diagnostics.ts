import { type ErrorMaker, errorArea, SluiceError } from '../core/errors.ts'
import { printable } from './words.ts'

export type Severity = 'error' | 'warning'

/** One thing to say about a configuration, with its place. */
export interface Diagnostic {
  readonly severity: Severity
  readonly file: string
  /** From 1; 0 when it is about the file as a whole, and then the column is 0 too. */
  readonly line: number
  /** In characters, from 1. */
  readonly column: number
  /** The first column after it, when it stands on one line. */
  readonly endColumn?: number
  /** Like `inbounds[0].settings.port`; empty for the whole. */
  readonly path: string
  /** One sentence without a full stop. */
  readonly message: string
  /** What to do about it, where the message cannot say. */
  readonly hint?: string
  /** The line, clipped around the column, and a caret below the column. */
  readonly excerpt?: { readonly line: string; readonly caret: string }
}

const configTable = {
  invalid: ['config', 'the configuration is wrong'],
} as const
const configError: ErrorMaker<typeof configTable> = errorArea('config', configTable)

/** What `configInvalid` puts behind `cause`. */
class DiagnosticList {
  readonly diagnostics: readonly Diagnostic[]
  constructor(diagnostics: readonly Diagnostic[]) {
    this.diagnostics = diagnostics
  }
  toString(): string {
    return formatDiagnostics(this.diagnostics)
  }
}

/** The error `config.invalid` that carries `diagnostics`; `diagnosticsOf` gives them back. */
export function configInvalid(diagnostics: readonly Diagnostic[]): SluiceError {
  const errors = diagnostics.filter(one => one.severity === 'error').length
  return configError('invalid', { cause: new DiagnosticList(diagnostics), detail: { errors } })
}

/** The diagnostics of an error made by `configInvalid`, in file order; none for any other value. */
export function diagnosticsOf(error: unknown): readonly Diagnostic[] {
  if (!(error instanceof SluiceError)) return []
  return error.cause instanceof DiagnosticList ? error.cause.diagnostics : []
}

/** `config.json:14:9 unknown key "setings", …`: the first line of `formatDiagnostic`. */
export function diagnosticLine(one: Diagnostic): string {
  const file = printable(one.file)
  const place = one.line === 0 ? file : `${file}:${String(one.line)}:${String(one.column)}`
  return `${place} ${one.severity === 'warning' ? 'warning: ' : ''}${one.message}`
}

/** For people: place and message, the line of the file, a caret under the column, the hint. */
export function formatDiagnostic(one: Diagnostic): string {
  const lines = [diagnosticLine(one)]
  if (one.excerpt !== undefined) lines.push(`  ${one.excerpt.line}`, `  ${one.excerpt.caret}`)
  if (one.hint !== undefined) lines.push(`  ${one.hint}`)
  return lines.join('\n')
}

export function formatDiagnostics(list: readonly Diagnostic[]): string {
  return list.map(formatDiagnostic).join('\n')
}

/** For programs: a JSON list of the diagnostics, without the lines of the file (they hold secrets). */
export function diagnosticsJson(list: readonly Diagnostic[]): string {
  return JSON.stringify(
    list.map(({ excerpt: _, ...one }) => one),
    null,
    2,
  )
}
