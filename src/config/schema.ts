import * as v from 'valibot'
import { type Port, parsePort } from '../core/endpoint.ts'
import { limits } from './limits.ts'
import { must } from './plain.ts'
import { notYetText, type Remarked, strictObject } from './strict-object.ts'
import { didYouMean, notSupported, quotedList } from './words.ts'

export { must, strictObject }

/*
 * What protocols declare their options with, beside `v.string()`, `v.number()`, `v.boolean()`,
 * `v.optional()` and the rest of valibot. A message that begins with `must`, `is` or `has` gets
 * the quoted key in front.
 */

const portWords = 'be a number from 1 to 65535'

/** A port as a number from 1 to 65535. */
export function port(): v.GenericSchema<unknown, Port> {
  return v.pipe(
    v.number(must(portWords)),
    v.integer(must(portWords)),
    v.minValue(1, must(portWords)),
    v.maxValue(65_535, must(portWords)),
    v.transform(parsePort),
  )
}

/** A port as a number or as text like `"1080"`; ranges are told as not supported. */
export function portOrText(): v.GenericSchema<unknown, Port> {
  return v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const { value } = dataset
      const found = portOf(value)
      if (found !== null) return found
      addIssue({ message: isPortRange(value) ? severalPorts : must(portWords) })
      return NEVER
    }),
  )
}

const severalPorts = `is a range or list of ports, which ${notSupported}`

/** A port written as a number or as digits; `null` for anything else. */
export function portOf(value: unknown): Port | null {
  const number = typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isInteger(number)) return null
  return number >= 1 && number <= 65_535 ? parsePort(number) : null
}

function isPortRange(value: unknown): boolean {
  return typeof value === 'string' && /^\s*\d+\s*[-,]\s*\d[\d\s,-]*$/.test(value)
}

/** A whole number within bounds. */
export function wholeNumber(min: number, max: number): v.GenericSchema<unknown, number> {
  const words = must(`be a whole number from ${String(min)} to ${String(max)}`)
  return v.pipe(v.number(words), v.integer(words), v.minValue(min, words), v.maxValue(max, words))
}

/** What a timer of 32 bits can count in milliseconds, in whole seconds: 24 days. */
const secondsMax = 2_147_483

/** Whole seconds in the configuration, milliseconds for the program. */
export function seconds(min: number, max: number = secondsMax): v.GenericSchema<unknown, number> {
  const bounds = `${String(min)} to ${String(max)}`
  const words = must(`be a whole number of seconds from ${bounds}`)
  return v.pipe(
    v.number(words),
    v.integer(words),
    v.minValue(min, words),
    v.maxValue(max, words),
    v.transform(count => count * 1_000),
  )
}

const tagMax = 256

/** The name of an inbound or outbound; `""` means none, as in Xray. */
export function tag(): v.GenericSchema<unknown, string> {
  const words = must(`be text of at most ${String(tagMax)} visible characters`)
  return v.pipe(v.string(must('be text')), v.regex(/^\P{Cc}*$/u, words), v.maxLength(tagMax, words))
}

/** Text that is not empty. */
export function nonEmptyText(): v.GenericSchema<unknown, string> {
  return v.pipe(v.string(must('be text')), v.nonEmpty('must not be empty'))
}

/** A list, of at most `max` entries. */
export function list<const S extends v.GenericSchema>(
  item: S,
  max: number = limits.itemsMax,
): v.GenericSchema<unknown, v.InferOutput<S>[]> {
  const count = (value: unknown): string => (Array.isArray(value) ? String(value.length) : '0')
  return v.pipe(
    v.array(v.unknown(), must('be a list')),
    v.maxLength(
      max,
      issue => `must have ${String(max)} entries or fewer, found ${count(issue.input)}`,
    ),
    v.array(item),
  )
}

/** One of a few words; with `anyCase` written in any case, and given as it stands in `choices`. */
export function oneOf<const C extends readonly [string, ...string[]]>(
  choices: C,
  options: { readonly anyCase?: boolean; readonly notYet?: readonly string[] } = {},
): v.GenericSchema<unknown, C[number]> {
  const fold = (word: string): string => (options.anyCase === true ? word.toLowerCase() : word)
  return v.pipe(
    v.string(must('be text')),
    v.rawTransform<string, C[number]>(({ dataset, addIssue, NEVER }) => {
      const { value } = dataset
      const found = choices.find(choice => fold(choice) === fold(value))
      if (found !== undefined) return found
      const isLater = options.notYet?.some(word => fold(word) === fold(value)) === true
      addIssue({ message: isLater ? laterWord(value) : choiceText(choices, value) })
      return NEVER
    }),
  )
}

function laterWord(value: string): string {
  return `has the value ${quotedList([value])}, which ${notSupported}`
}

/** `must be one of "a", "b", found "c", did you mean "a"?`. */
export function choiceText(choices: readonly string[], found: string): string {
  const wanted = choices.length === 1 ? 'be' : 'be one of'
  const meant = didYouMean(found, choices)
  return `must ${wanted} ${quotedList(choices)}, found ${quotedList([found])}${meant}`
}

/** A key that Xray knows and this version does not: refused when present, by name. */
export function notYet(why?: string): v.OptionalSchema<v.NeverSchema<string>, undefined> {
  return v.optional(v.never(because(why)))
}

/** As `notYet`, but an empty object or list only gives a warning. */
export function notYetUnlessEmpty(
  why?: string,
): v.OptionalSchema<v.GenericSchema<unknown, unknown>, undefined> & Remarked {
  const empty = v.pipe(
    v.unknown(),
    v.rawCheck(({ dataset, addIssue }) => {
      if (dataset.typed && !isEmpty(dataset.value)) {
        addIssue({ message: because(why), expected: 'never' })
      }
    }),
  )
  return Object.assign(v.optional(empty), {
    remark: () => 'has no effect in this version of Sluice',
  })
}

function because(why: string | undefined): string {
  return why === undefined ? notYetText : `${notYetText}: ${why}`
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

/** A feature that may be named as long as it is switched off: `{"enabled": false}`. */
export function offOnly(feature: string): v.GenericSchema<unknown, boolean> {
  return v.pipe(
    v.boolean(),
    v.check(isOn => !isOn, `${feature} ${notSupported}`),
  )
}

/** A key that is accepted with any value and does nothing; gives the warning `"key" ${reason}`. */
export function withoutEffect(
  reason: string = 'has no effect in this version of Sluice',
): v.OptionalSchema<v.UnknownSchema, undefined> & Remarked {
  return Object.assign(v.optional(v.unknown()), { remark: () => reason })
}

/** As `withoutEffect` for a switch, which is only worth a warning when it is on. */
export function switchWithoutEffect(
  reason: string = 'has no effect in this version of Sluice',
): v.OptionalSchema<v.BooleanSchema<undefined>, undefined> & Remarked {
  return Object.assign(v.optional(v.boolean()), {
    remark: (value: unknown) => (value === true ? reason : null),
  })
}
