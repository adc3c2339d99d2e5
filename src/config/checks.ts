import type { Registry } from './config.ts'
import { listenHostOf, anyIpv4, isSocketPath } from './hosts.ts'
import type { ConfigTree } from './jsonc.ts'
import type { Path, Problems } from './problems.ts'
import { portOf } from './schema.ts'
import { isFields } from './strict-object.ts'
import { quoted } from './words.ts'

type Side = 'inbounds' | 'outbounds'

/*
 * What no schema of one part can see. These look at the values as they are written, so that they also
 * speak when other parts of the file are wrong; what is wrong in itself is left to the schemas.
 */

/** Tells empty lists, tags and addresses that are taken twice, and levels that nobody has. */
export function checkWhole(tree: ConfigTree, registry: Registry, problems: Problems): void {
  for (const side of ['inbounds', 'outbounds'] as const) {
    checkNotEmpty(tree, side, registry, problems)
    checkTags(tree, side, problems)
  }
  checkListeners(tree, problems)
  checkLevels(tree, problems)
}

/** The entries of a list as they are written; none when it is no list. */
export function entriesOf(tree: ConfigTree, side: Side): readonly unknown[] {
  const value = tree.at([side])
  return Array.isArray(value) ? value : []
}

function checkNotEmpty(tree: ConfigTree, side: Side, registry: Registry, problems: Problems): void {
  const value = tree.at([side])
  if (!Array.isArray(value) || value.length > 0) return
  const example = registry[side][0]?.type
  const hint = example === undefined ? undefined : `for example { "protocol": ${quoted(example)} }`
  const one = side === 'inbounds' ? 'inbound' : 'outbound'
  problems.error(
    tree.find([side]).value,
    [side],
    `"${side}" is empty, at least one ${one} is needed`,
    hint,
  )
}

function checkTags(tree: ConfigTree, side: Side, problems: Problems): void {
  const taken = new Map<string, number>()
  for (const [index, entry] of entriesOf(tree, side).entries()) {
    const tag = isFields(entry) ? entry['tag'] : undefined
    if (typeof tag !== 'string' || tag === '') continue
    const earlier = taken.get(tag)
    if (earlier === undefined) taken.set(tag, index)
    else {
      const path = [side, index, 'tag']
      const message = `the tag ${quoted(tag)} is already taken by ${entryAt(tree, problems, [side, earlier])}`
      problems.error(tree.find(path).value, path, message)
    }
  }
}

/** `inbounds[0] (line 3)`. */
function entryAt(tree: ConfigTree, problems: Problems, path: Path): string {
  const { line } = problems.source.positionOf(tree.find(path).value.offset)
  return `${String(path[0])}[${String(path[1])}] (line ${String(line)})`
}

interface Listeners {
  /** The first inbound on each host. */
  readonly hosts: Map<string, number>
  /** The first inbound on all hosts. */
  any: number | null
}

/** Two inbounds on one address and port; all addresses clash with each of them. */
function checkListeners(tree: ConfigTree, problems: Problems): void {
  const ports = new Map<number, Listeners>()
  for (const [index, entry] of entriesOf(tree, 'inbounds').entries()) {
    const address = addressOf(entry)
    if (address === null) continue
    const known = ports.get(address.port) ?? { hosts: new Map<string, number>(), any: null }
    ports.set(address.port, known)
    const earlier = takenBy(known, address.host)
    if (earlier !== null) tellClash(tree, problems, index, earlier, address)
    else if (isAny(address.host)) known.any = index
    if (!known.hosts.has(address.host)) known.hosts.set(address.host, index)
  }
}

interface Address {
  readonly host: string
  /** 0 for the path of a UNIX socket. */
  readonly port: number
}

function addressOf(entry: unknown): Address | null {
  if (!isFields(entry)) return null
  const host = listenHostOf(entry['listen'] ?? '')
  if (host === null) return null
  if (isSocketPath(host)) return { host, port: 0 }
  const port = portOf(entry['port'])
  return port === null ? null : { host, port }
}

function isAny(host: string): boolean {
  return host === anyIpv4 || host === '::'
}

function takenBy(known: Listeners, host: string): number | null {
  if (isAny(host)) return known.hosts.values().next().value ?? null
  return known.any ?? known.hosts.get(host) ?? null
}

function tellClash(
  tree: ConfigTree,
  problems: Problems,
  index: number,
  earlier: number,
  address: Address,
): void {
  const isPath = isSocketPath(address.host)
  const path = ['inbounds', index, isPath ? 'listen' : 'port']
  const what = isPath ? quoted(address.host) : `port ${String(address.port)} of ${address.host}`
  const message = `${what} is already taken by ${entryAt(tree, problems, ['inbounds', earlier])}`
  problems.error(tree.find(path).value, path, message)
}

function checkLevels(tree: ConfigTree, problems: Problems): void {
  const levels = tree.at(['policy', 'levels'])
  if (!isFields(levels)) return
  for (const level of Object.keys(levels)) {
    if (level === '0' || !/^\d+$/.test(level)) continue
    const path = ['policy', 'levels', level]
    const { key, value } = tree.find(path)
    const message = `the level ${quoted(level)} has no effect in this version of Sluice, only "0" has`
    problems.warning(key ?? value, path, message)
  }
}
