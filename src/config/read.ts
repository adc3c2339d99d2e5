import type * as v from 'valibot'
import { SluiceError } from '../core/errors.ts'
import type { ConfigTree } from './jsonc.ts'
import { plainMessage } from './plain.ts'
import type { Path, Problems } from './problems.ts'
import type { RemarkConfig } from './strict-object.ts'
import { quoted } from './words.ts'

/** What a schema made of a value; nothing when there were errors, which are told by then. */
export type Read<T> = { readonly kind: 'read'; readonly value: T } | { readonly kind: 'refused' }

/**
 * Runs a valibot schema over the part of the configuration at `path` and tells all its issues and
 * warnings at their places. A part that is not written is read as `absent`.
 */
export function readWith<const S extends v.GenericSchema>(
  schema: S,
  tree: ConfigTree,
  path: Path,
  problems: Problems,
  absent?: unknown,
): Read<v.InferOutput<S>> {
  const config: RemarkConfig = {
    message: plainMessage,
    onRemark: (owner, key, remark) => tellRemark(tree, owner, key, remark, problems),
  }
  const value = tree.at(path)
  const output = runSafely(schema, { value: value ?? absent ?? value }, config)
  if (output instanceof SluiceError) {
    problems.error(tree.find(path).value, path, output.message)
    return { kind: 'refused' }
  }
  if (output.typed && output.issues === undefined) return { kind: 'read', value: output.value }
  for (const issue of output.issues ?? []) tellIssue(issue, tree, path, problems)
  return { kind: 'refused' }
}

/** A `parse…` function inside a schema may throw instead of giving an issue. */
function runSafely<const S extends v.GenericSchema>(
  schema: S,
  dataset: v.UnknownDataset,
  config: RemarkConfig,
): v.OutputDataset<v.InferOutput<S>, v.InferIssue<S>> | SluiceError {
  try {
    return schema['~run'](dataset, config)
  } catch (thrown) {
    if (thrown instanceof SluiceError && thrown.blame === 'config') return thrown
    throw thrown
  }
}

function tellIssue(
  issue: v.BaseIssue<unknown>,
  tree: ConfigTree,
  base: Path,
  problems: Problems,
): void {
  const path = [...base, ...stepsOf(issue)]
  const { value, key, rest } = tree.find(path)
  const isAboutKey = issue.path?.at(-1)?.origin === 'key'
  if (rest.length > 0 && isAboutKey) {
    problems.error(value, path, `missing key ${quoted(rest.join('.'))}`)
    return
  }
  const atKey = issue.expected === 'never' || isAboutKey
  problems.error((atKey ? key : null) ?? value, path, withName(path, issue.message))
}

/** The warnings of `strictObject` name their object; a schema that made a new one is left alone. */
function tellRemark(
  tree: ConfigTree,
  owner: object,
  key: string,
  remark: string,
  problems: Problems,
): void {
  const above = tree.pathOf(owner)
  if (above === null) return
  const path = [...above, key]
  const spot = tree.find(path)
  problems.warning(spot.key ?? spot.value, path, withName(path, remark))
}

function stepsOf(issue: v.BaseIssue<unknown>): Path {
  const steps: (string | number)[] = []
  for (const { key } of issue.path ?? []) {
    if (typeof key !== 'string' && typeof key !== 'number') break
    steps.push(key)
  }
  return steps
}

/** Puts the quoted key in front of a message that has no subject: `must be a number` and the like. */
function withName(path: Path, message: string): string {
  return /^(?:must|is|has) /.test(message) ? `${nameOf(path)} ${message}` : message
}

/** The last key of a path and the list positions behind it. */
function nameOf(path: Path): string {
  let name = ''
  for (const step of path.toReversed()) {
    if (typeof step === 'string') return quoted(step + name)
    name = `[${String(step)}]${name}`
  }
  return name === '' ? 'the configuration' : quoted(name)
}
