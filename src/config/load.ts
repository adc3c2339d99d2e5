import { checkWhole, entriesOf } from './checks.ts'
import type {
  InboundConfig,
  OutboundConfig,
  ProtocolEntry,
  Registry,
  SluiceConfig,
} from './config.ts'
import { configInvalid, type Diagnostic } from './diagnostics.ts'
import { readConfigFile } from './file.ts'
import { anyIpv4 } from './hosts.ts'
import { type ConfigTree, readJsonc } from './jsonc.ts'
import { type ConfigShape, configSchema } from './model.ts'
import { Problems } from './problems.ts'
import { readWith } from './read.ts'
import { choiceText } from './schema.ts'
import { isFields } from './strict-object.ts'
import { SourceText } from './text.ts'
import { foundText, notSupported, quoted } from './words.ts'

export interface LoadedConfig {
  readonly config: SluiceConfig
  /** In file order. */
  readonly warnings: readonly Diagnostic[]
}

/**
 * Reads a configuration with the names of Xray; `name` is what diagnostics call it. Throws
 * `config.invalid` with all errors and warnings of the text (`diagnosticsOf`).
 */
export function loadConfigText(name: string, text: string, registry: Registry): LoadedConfig {
  const problems = new Problems(new SourceText(name, text))
  const config = readConfig(problems, registry)
  const diagnostics = problems.diagnostics()
  if (config === null) throw configInvalid(diagnostics)
  return { config, warnings: diagnostics }
}

/**
 * As `loadConfigText` for the file at `path`. A file that is missing, unreadable, no file, too large
 * or not UTF-8 throws `config.invalid` too.
 */
export async function loadConfigFile(path: string, registry: Registry): Promise<LoadedConfig> {
  return loadConfigText(path, await readConfigFile(path), registry)
}

function readConfig(problems: Problems, registry: Registry): SluiceConfig | null {
  const tree = readJsonc(problems)
  if (tree === null) return null
  const shape = readWith(configSchema, tree, [], problems)
  const inbounds = readProtocols(tree, 'inbounds', registry, problems)
  const outbounds = readProtocols(tree, 'outbounds', registry, problems)
  checkWhole(tree, registry, problems)
  if (problems.failed || shape.kind === 'refused') return null
  return assemble(shape.value, inbounds, outbounds)
}

interface Protocol {
  readonly type: string
  readonly options: unknown
}

/** The protocol of each entry and what it made of its settings; `null` where that is wrong. */
function readProtocols(
  tree: ConfigTree,
  side: 'inbounds' | 'outbounds',
  registry: Registry,
  problems: Problems,
): readonly (Protocol | null)[] {
  const known = new KnownProtocols(registry[side], registry.notYet ?? [])
  return entriesOf(tree, side).map((entry, index) => {
    if (!isFields(entry) || !Object.hasOwn(entry, 'protocol')) return null
    const found = known.find(entry['protocol'])
    if (typeof found === 'string') {
      const path = [side, index, 'protocol']
      problems.error(tree.find(path).value, path, found)
      return null
    }
    const path = [side, index, 'settings']
    const options = readWith(found.options, tree, path, problems, { __proto__: null })
    return options.kind === 'read' ? { type: found.type, options: options.value } : null
  })
}

class KnownProtocols {
  readonly #names = new Map<string, ProtocolEntry>()
  readonly #notYet: ReadonlySet<string>

  constructor(entries: readonly ProtocolEntry[], notYet: readonly string[]) {
    for (const entry of entries) {
      for (const name of [entry.type, ...(entry.aliases ?? [])]) this.#names.set(name, entry)
    }
    this.#notYet = new Set(notYet)
  }

  /** The entry a name stands for, in any case; else what is wrong with the name. */
  find(name: unknown): ProtocolEntry | string {
    if (typeof name !== 'string') return `"protocol" must be text, found ${foundText(name)}`
    const entry = this.#names.get(name.toLowerCase())
    if (entry !== undefined) return entry
    if (this.#notYet.has(name.toLowerCase())) return `the protocol ${quoted(name)} ${notSupported}`
    return `"protocol" ${choiceText([...this.#names.keys()], name)}`
  }
}

function assemble(
  shape: ConfigShape,
  inbounds: readonly (Protocol | null)[],
  outbounds: readonly (Protocol | null)[],
): SluiceConfig {
  const inboundTags = new TagMaker(shape.inbounds)
  const outboundTags = new TagMaker(shape.outbounds)
  return {
    log: shape.log,
    policy: shape.policy,
    inbounds: withProtocols(
      shape.inbounds,
      inbounds,
      (one, protocol, number): InboundConfig => ({
        ...one,
        ...protocol,
        listen: one.listen === '' ? anyIpv4 : one.listen,
        tag: inboundTags.make(one.tag, protocol.type, number),
      }),
    ),
    outbounds: withProtocols(
      shape.outbounds,
      outbounds,
      (one, protocol, number): OutboundConfig => ({
        ...one,
        ...protocol,
        tag: outboundTags.make(one.tag, protocol.type, number),
      }),
    ),
  }
}

/** Both lists come from the same entries of the file, so they are equally long. */
function withProtocols<S, T>(
  shapes: readonly S[],
  protocols: readonly (Protocol | null)[],
  join: (shape: S, protocol: Protocol, number: number) => T,
): readonly T[] {
  return shapes.flatMap((shape, index) => {
    const protocol = protocols[index]
    return protocol === null || protocol === undefined ? [] : [join(shape, protocol, index + 1)]
  })
}

/** Gives a tag to whoever has none: `socks-2` for the second entry, longer if that is taken. */
class TagMaker {
  readonly #taken: Set<string>

  constructor(shapes: readonly { readonly tag: string }[]) {
    this.#taken = new Set(shapes.map(one => one.tag))
  }

  make(own: string, type: string, number: number): string {
    if (own !== '') return own
    let tag = `${type}-${String(number)}`
    while (this.#taken.has(tag)) tag += '-'
    this.#taken.add(tag)
    return tag
  }
}
