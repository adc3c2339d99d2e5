import { execFileSync, spawnSync } from 'node:child_process'

const ipProgram = 'ip'
const prefix = 'sluice-test-'
const open = new Set<Namespace>()
let lastNumber = 0
let isWatching = false

/**
 * A network of its own with nothing in it but loopback, for tests that lose packets or change what the
 * kernel waits for. It is removed when disposed, and at the latest when the process ends.
 */
export class Namespace implements Disposable {
  readonly name: string

  private constructor(name: string) {
    this.name = name
  }

  static create(): Namespace {
    watchExit()
    removeLeftOver()
    lastNumber += 1
    const namespace = new Namespace(`${prefix}${String(process.pid)}-${String(lastNumber)}`)
    ip('netns', 'add', namespace.name)
    open.add(namespace)
    namespace.run(ipProgram, 'link', 'set', 'lo', 'up')
    return namespace
  }

  /** What a command line begins with that is to run in here. */
  get through(): readonly string[] {
    return [ipProgram, 'netns', 'exec', this.name]
  }

  run(...command: readonly string[]): string {
    return ip('netns', 'exec', this.name, ...command)
  }

  /** `net.ipv4.` and so on, of this network alone. */
  set(setting: string, value: number): void {
    this.run('sysctl', '-qw', `${setting}=${String(value)}`)
  }

  /** Drops what a rule of nft matches on its way in, as `tcp dport 9`. */
  drop(...rules: readonly string[]): void {
    this.run('nft', 'add table inet drops')
    const hook = '{ type filter hook input priority 0 ; policy accept ; }'
    this.run('nft', `add chain inet drops in ${hook}`)
    for (const rule of rules) this.run('nft', `add rule inet drops in ${rule} drop`)
  }

  [Symbol.dispose](): void {
    if (open.delete(this)) remove(this.name)
  }
}

/** Joins two namespaces by a wire; gives the address of each end. */
export function wire(one: Namespace, other: Namespace): { one: string; other: string } {
  const addresses = { one: '10.98.0.1', other: '10.98.0.2' }
  one.run(
    ipProgram,
    'link',
    'add',
    'wire',
    'type',
    'veth',
    'peer',
    'name',
    'wire',
    'netns',
    other.name,
  )
  for (const [namespace, address] of [
    [one, addresses.one],
    [other, addresses.other],
  ] as const) {
    namespace.run(ipProgram, 'address', 'add', `${address}/24`, 'dev', 'wire')
    namespace.run(ipProgram, 'link', 'set', 'wire', 'up')
  }
  return addresses
}

let missing: string | null | undefined

/** Why no namespace can be made here; null: it can. */
export function whyNoNamespaces(): string | null {
  if (missing === undefined) missing = look()
  return missing
}

function look(): string | null {
  if (process.platform !== 'linux') return 'namespaces are of Linux'
  if (process.getuid?.() !== 0) return 'not root: no network namespaces'
  for (const [program, option] of [
    [ipProgram, '-V'],
    ['nft', '-v'],
    ['sysctl', '--version'],
  ] as const) {
    if (spawnSync(program, [option]).status !== 0) return `no ${program} here`
  }
  try {
    using namespace = Namespace.create()
    namespace.drop('tcp dport 9')
    return null
  } catch (thrown) {
    return `no network namespaces here: ${String(thrown)}`
  }
}

function ip(...args: readonly string[]): string {
  return execFileSync(ipProgram, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function remove(name: string): void {
  spawnSync(ipProgram, ['netns', 'delete', name])
}

/** Removes what a test left whose process was killed. */
function removeLeftOver(): void {
  for (const line of ip('netns', 'list').split('\n')) {
    const [name = ''] = line.split(' ')
    const pid = Number(name.slice(prefix.length).split('-')[0])
    if (name.startsWith(prefix) && Number.isInteger(pid) && !isAlive(pid)) remove(name)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function watchExit(): void {
  if (isWatching) return
  isWatching = true
  process.once('exit', () => {
    for (const namespace of open) remove(namespace.name)
  })
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(1))
  }
}
