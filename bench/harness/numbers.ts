/** What one number of a table is: its name, its unit, and how many digits of it mean something. */
export interface Figure {
  readonly name: string
  readonly digits: number
  /** Whether more of it is better; decides nothing, but is told beside the ratio. */
  readonly isMoreBetter: boolean
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spreadOf(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  const lower = sorted[sorted.length % 2 === 0 ? middle - 1 : middle] ?? upper
  return {
    median: (upper + lower) / 2,
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
  }
}

/** `6.31`, or `11,300` where no digits behind the point are wanted. */
export function numberText(value: number, digits: number): string {
  if (!Number.isFinite(value)) return '-'
  return value.toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}

/** `6.31 (6.02-6.50)`. */
export function spreadText(spread: Spread, digits: number): string {
  const [median, min, max] = [spread.median, spread.min, spread.max].map(value =>
    numberText(value, digits),
  )
  return `${median ?? ''} (${min ?? ''}-${max ?? ''})`
}
