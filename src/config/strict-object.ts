import * as v from 'valibot'
import { limits } from './limits.ts'
import { must } from './plain.ts'
import { didYouMean, nearest, notSupported, quoted } from './words.ts'

type Issue = v.BaseIssue<unknown>
type Fields = Record<string, unknown>

/** A schema that may have something to say about a value it accepts. */
export interface Remarked {
  /**
   * A warning that follows the quoted key, like `has no effect yet`; `null` for none. It is asked about
   * values the schema has accepted.
   */
  readonly remark: (value: unknown) => string | null
}

/** The configuration a schema runs with when its warnings are wanted. */
export interface RemarkConfig extends v.Config<Issue> {
  /** `owner` is the object the key stands in, as it was given to the schema. */
  readonly onRemark: (owner: object, key: string, remark: string) => void
}

/**
 * An object with exactly these keys. Unlike `v.strictObject` it tells every unknown key, with what was
 * probably meant; refuses a list; takes `null` for an absent optional key, as Xray does; tells the keys
 * `notYet` as not supported; passes on the warnings of its entries.
 */
export function strictObject<const E extends v.ObjectEntries>(
  entries: E,
  notYet: readonly string[] = [],
): v.ObjectSchema<E, undefined> {
  const loose = v.object(entries)
  return v._standardSchema<v.ObjectSchema<E, undefined>>({
    ...loose,
    '~run'(dataset, config) {
      const input = dataset.value
      if (!isFields(input)) return notAnObject['~run'](dataset, config)
      const output = loose['~run'].call(this, { value: presentFields(input, entries) }, config)
      const unknown = unknownKeys(input, entries, notYet)
      if (output.issues !== undefined) dropMissing(output.issues, unknown, Object.keys(entries))
      tellRemarks(input, entries, output.issues ?? [], config)
      const check = v.rawCheck<unknown>(({ addIssue }) => {
        tellUnknown(input, unknown, [...Object.keys(entries), ...notYet], addIssue)
        for (const key of notYet)
          if (isPresent(input, key)) addIssue(keyIssue(input, key, notYetText))
      })
      check['~run'](output, config)
      return output
    },
  })
}

export const notYetText: string = notSupported

const notAnObject = v.custom<never>(() => false, must('be an object'))

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isPresent(input: Fields, key: string): boolean {
  return Object.hasOwn(input, key) && input[key] !== null
}

/** `input` without the optional keys whose value is `null`. */
function presentFields(input: Fields, entries: v.ObjectEntries): Fields {
  const absent = Object.keys(input).filter(key => input[key] === null && isOptional(entries[key]))
  if (absent.length === 0) return input
  const present: Fields = { __proto__: null, ...input }
  for (const key of absent) Reflect.deleteProperty(present, key)
  return present
}

function isOptional(entry: v.GenericSchema | undefined): boolean {
  return entry?.type === 'optional' || entry?.type === 'exact_optional'
}

function unknownKeys(
  input: Fields,
  entries: v.ObjectEntries,
  notYet: readonly string[],
): readonly string[] {
  return Object.keys(input).filter(key => !Object.hasOwn(entries, key) && !notYet.includes(key))
}

/** A key that is only misspelt is not told a second time as missing. */
function dropMissing(issues: Issue[], unknown: readonly string[], known: readonly string[]): void {
  const told = unknown.slice(0, limits.unknownKeysMax)
  const meant = new Set(told.flatMap(key => nearest(key, known) ?? []))
  if (meant.size === 0) return
  const kept = issues.filter(issue => {
    const [item, ...deeper] = issue.path ?? []
    const isMissing = item?.origin === 'key' && deeper.length === 0
    return !(isMissing && typeof item.key === 'string' && meant.has(item.key))
  })
  issues.splice(0, issues.length, ...kept)
}

interface KeyIssue {
  readonly message: string
  readonly input: unknown
  readonly expected: string
  readonly path: [v.IssuePathItem]
}

/** An issue about a key that stands there: `expected: 'never'` makes the reader point at the key. */
function keyIssue(input: Fields, key: string, message: string): KeyIssue {
  const item = { type: 'object', origin: 'key', input, key, value: input[key] } as const
  return { message, input: key, expected: 'never', path: [item] }
}

function tellUnknown(
  input: Fields,
  unknown: readonly string[],
  known: readonly string[],
  addIssue: (issue: KeyIssue) => void,
): void {
  for (const key of unknown.slice(0, limits.unknownKeysMax)) {
    addIssue(keyIssue(input, key, `unknown key ${quoted(key)}${didYouMean(key, known)}`))
  }
  const next = unknown[limits.unknownKeysMax]
  if (next === undefined) return
  const left = unknown.length - limits.unknownKeysMax
  addIssue(keyIssue(input, next, `unknown key ${quoted(next)}, one of ${String(left)} more`))
}

function tellRemarks(
  input: Fields,
  entries: v.ObjectEntries,
  issues: readonly Issue[],
  config: v.Config<Issue>,
): void {
  if (!wantsRemarks(config)) return
  for (const [key, entry] of Object.entries(entries)) {
    if (!isRemarked(entry) || !isPresent(input, key)) continue
    if (issues.some(issue => issue.path?.[0].key === key)) continue
    const remark = entry.remark(input[key])
    if (remark !== null) config.onRemark(input, key, remark)
  }
}

function wantsRemarks(config: v.Config<Issue>): config is RemarkConfig {
  return 'onRemark' in config
}

function isRemarked(entry: object): entry is Remarked {
  return 'remark' in entry
}
