import type * as v from 'valibot'
import { foundText, quoted } from './words.ts'

type Issue = v.BaseIssue<unknown>

/**
 * A message for a valibot schema: `must('be a number')` says `must be a number, found "abc"`, and the
 * reader puts the key in front: `"port" must be a number, found "abc"`. For a secret give valibot the
 * bare text `'must be a number'` instead, then the value is not repeated.
 */
export function must(what: string): (issue: Issue) => string {
  return issue => `must ${what}, found ${foundText(issue.input)}`
}

/** The message of a valibot schema that was declared without one; no name of a type appears in it. */
export function plainMessage(issue: Issue): string {
  const isUnknownKey = issue.expected === 'never' && issue.path?.at(-1)?.origin === 'key'
  if (isUnknownKey && typeof issue.input === 'string') return `unknown key ${quoted(issue.input)}`
  return must(issue.kind === 'schema' ? kindsText(issue.expected) : ruleText(issue))(issue)
}

const kinds: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  boolean: 'true or false',
  Array: 'a list',
  Object: 'an object',
  null: 'null',
}

/** `(string | number)` and `("a" | "b")`, as valibot lists what it expects, in plain words. */
function kindsText(expected: string | null): string {
  const parts = (expected ?? '').replace(/[()]/g, '').split(' | ')
  const wanted = parts.filter(part => part !== 'undefined')
  const words = wanted.map(part => kinds[part] ?? (isLiteral(part) ? part : null))
  if (words.length === 0 || words.includes(null)) return 'be something else'
  const isChoice = words.length > 1 && wanted.every(part => isLiteral(part))
  return isChoice ? `be one of ${words.join(', ')}` : `be ${words.join(' or ')}`
}

function isLiteral(part: string): boolean {
  return /^(?:".*"|-?\d[\d.e+]*|true|false)$/s.test(part)
}

const ruleTexts: Readonly<Record<string, string>> = {
  integer: 'be a whole number',
  safe_integer: 'be a whole number',
  finite: 'be a number',
  non_empty: 'not be empty',
  ip: 'be an IP address',
  ipv4: 'be an IPv4 address',
  ipv6: 'be an IPv6 address',
  uuid: 'be a UUID',
  url: 'be a URL',
  base64: 'be Base64 text',
  hexadecimal: 'be hexadecimal text',
  digits: 'consist of digits',
}

function ruleText(issue: Issue): string {
  const { type, requirement } = issue
  if (typeof requirement !== 'number') return ruleTexts[type] ?? 'be something else'
  switch (type) {
    case 'min_value':
      return `be ${String(requirement)} or more`
    case 'max_value':
      return `be ${String(requirement)} or less`
    case 'min_length':
      return `have ${countText(requirement, issue.input)} or more`
    case 'max_length':
      return `have ${countText(requirement, issue.input)} or fewer`
    case 'length':
      return `have exactly ${countText(requirement, issue.input)}`
    default:
      return ruleTexts[type] ?? 'be something else'
  }
}

function countText(count: number, of: unknown): string {
  const [one, many] = Array.isArray(of) ? ['entry', 'entries'] : ['character', 'characters']
  return `${String(count)} ${count === 1 ? one : many}`
}
