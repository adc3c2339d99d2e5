import { type Figure, numberText, type Spread, spreadOf, spreadText } from './numbers.ts'

/** What was measured of one subject: a program, or a case. One list of samples for each figure. */
export interface Row {
  readonly subject: string
  readonly samples: readonly (readonly number[])[]
}

/** One question and its answers. The first row is the one that the others are compared with. */
export interface Table {
  readonly title: string
  readonly figures: readonly Figure[]
  readonly rows: readonly Row[]
  /** False: the rows are different things, so ratios between them say nothing. */
  readonly isCompared: boolean
  readonly remarks: readonly string[]
}

export interface Report {
  readonly bench: string
  readonly tables: readonly Table[]
  /** Who could have been measured too, and why it was not. */
  readonly absent: readonly string[]
}

/** The table as text, in Markdown, with the columns lined up. */
export function tableText(table: Table): string {
  const lines = linesOf(table)
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map(line => line[column]?.length ?? 0)),
  )
  const [head = [], ...body] = lines
  const text = (cells: readonly string[]): string =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`
  return [
    `### ${table.title}`,
    '',
    text(head),
    `| ${widths.map(width => '-'.repeat(width)).join(' | ')} |`,
    ...body.map(text),
    ...(table.remarks.length === 0 ? [] : ['', ...table.remarks]),
    '',
  ].join('\n')
}

function linesOf(table: Table): string[][] {
  const [first] = table.rows
  const own = first === undefined ? [] : first.samples.map(samples => spreadOf(samples))
  const isCompared = table.isCompared && table.rows.length > 1
  const head = [
    '',
    ...table.figures.map(figure => figure.name),
    ...(isCompared ? table.figures.map(ratioName(first?.subject ?? '')) : []),
  ]
  const body = table.rows.map((row, at) => {
    const spreads = row.samples.map(samples => spreadOf(samples))
    const ratios = own.map((mine, column) => (at === 0 ? '' : ratioText(mine, spreads[column])))
    return [
      row.subject,
      ...table.figures.map((figure, column) =>
        cellText(figure, row.samples[column], spreads[column]),
      ),
      ...(isCompared ? ratios : []),
    ]
  })
  return [head, ...body]
}

function ratioName(subject: string): (figure: Figure) => string {
  return figure => `${subject} / it: ${figure.name.split(',')[0] ?? ''}`
}

function cellText(
  figure: Figure,
  samples: readonly number[] | undefined,
  spread: Spread | undefined,
): string {
  if (samples === undefined || spread === undefined || samples.length === 0) return '-'
  if (samples.length === 1) return numberText(spread.median, figure.digits)
  return spreadText(spread, figure.digits)
}

function ratioText(own: Spread, other: Spread | undefined): string {
  if (other === undefined || other.median === 0) return '-'
  return `${numberText(own.median / other.median, 2)}x`
}
