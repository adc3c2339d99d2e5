import { Resolver as Cares } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import type { Scope } from '../core/scope.ts'
import { netError } from '../net/errors.ts'
import type { Resolver } from '../net/network.ts'
import { canonicalIp } from '../wire/address.ts'

/** Names kept; the one unused longest makes room. */
const namesMax = 4_096
/** A lifetime in the answer is honoured between these two, in seconds. */
const ttlMinSeconds = 1
const ttlMaxSeconds = 3_600
/** RFC 8305 section 3: how long the IPv6 answer is awaited once the IPv4 one is there. */
const otherFamilyMs = 50
/** How long the hosts file is believed before it is looked at again. */
const hostsMs = 5_000

type Answer = PromiseSettledResult<readonly { readonly address: string; readonly ttl: number }[]>
interface Answers {
  six: Answer | null
  four: Answer | null
}

interface Known {
  readonly addresses: readonly string[]
  readonly untilMs: number
}

export interface SystemResolverOptions {
  /** `address` or `address:port`; the system's own when left out. */
  readonly servers?: readonly string[]
  readonly hostsPath?: string
}

/**
 * Names by the hosts file and the system's DNS servers, asked by our own sockets: no lookup waits for
 * a thread of Node's pool. IPv6 and IPv4 are asked for together; answers are kept for their lifetime.
 */
export class SystemResolver implements Resolver {
  readonly #cares = new Cares({ timeout: 2_000, tries: 2 })
  readonly #hostsPath: string
  readonly #known = new Map<string, Known>()
  readonly #pending = new Map<string, Promise<Known>>()
  #hosts: ReadonlyMap<string, readonly string[]> = new Map()
  #hostsUntilMs = Number.NEGATIVE_INFINITY

  readonly #scope: Scope

  /** Questions that are under way are given up when `scope` ends. */
  constructor(scope: Scope, options: SystemResolverOptions = {}) {
    this.#scope = scope
    scope.onEnd(() => {
      this.#cares.cancel()
    })
    this.#hostsPath = options.hostsPath ?? '/etc/hosts'
    if (options.servers !== undefined) this.#cares.setServers(options.servers)
  }

  async resolve(scope: Scope, name: string): Promise<readonly string[]> {
    const clock = scope.program.clock
    const local = this.#fromHosts(name, clock.now())
    if (local !== null) return local
    const known = this.#known.get(name)
    if (known !== undefined && known.untilMs > clock.now()) {
      this.#known.delete(name)
      this.#known.set(name, known)
      return known.addresses
    }
    const held = scope.hold('lookup', name, () => undefined)
    try {
      return (await this.#ask(name, () => clock.now())).addresses
    } finally {
      held.drop()
    }
  }

  /** One question per name at a time, whoever asks. */
  #ask(name: string, now: () => number): Promise<Known> {
    const pending = this.#pending.get(name)
    if (pending !== undefined) return pending
    const asked = this.#query(name, now).finally(() => this.#pending.delete(name))
    this.#pending.set(name, asked)
    return asked
  }

  async #query(name: string, now: () => number): Promise<Known> {
    const answers: Answers = { six: null, four: null }
    const six = settled(this.#cares.resolve6(name, { ttl: true }), answer => {
      answers.six = answer
    })
    const four = settled(this.#cares.resolve4(name, { ttl: true }), answer => {
      answers.four = answer
    })
    await four
    if (answers.four?.status === 'fulfilled') await this.#within(six, otherFamilyMs)
    else await six
    const records = [answers.six, answers.four].flatMap(answer =>
      answer?.status === 'fulfilled' ? answer.value : [],
    )
    if (records.length === 0) throw noAddress([answers.six, answers.four])
    const seconds = Math.min(...records.map(record => record.ttl))
    const keptMs = 1_000 * Math.min(Math.max(seconds, ttlMinSeconds), ttlMaxSeconds)
    const known: Known = {
      addresses: records.map(record => record.address),
      untilMs: now() + keptMs,
    }
    this.#keep(name, known)
    return known
  }

  /** Waits for `work`, but not longer than `ms`. */
  async #within(work: Promise<void>, ms: number): Promise<void> {
    const late = Promise.withResolvers<void>()
    using timer = this.#scope.timer('other family', () => {
      late.resolve()
    })
    timer.setAfter(ms)
    await Promise.race([work, late.promise])
  }

  #keep(name: string, known: Known): void {
    this.#known.delete(name)
    if (this.#known.size >= namesMax) {
      const [oldest] = this.#known.keys()
      if (oldest !== undefined) this.#known.delete(oldest)
    }
    this.#known.set(name, known)
  }

  #fromHosts(name: string, nowMs: number): readonly string[] | null {
    if (nowMs >= this.#hostsUntilMs) {
      this.#hostsUntilMs = nowMs + hostsMs
      this.#hosts = readHosts(this.#hostsPath)
    }
    const found = this.#hosts.get(name)
    if (found !== undefined) return found
    // RFC 6761 section 6.3: these names never leave the machine.
    return name === 'localhost' || name.endsWith('.localhost') ? ['127.0.0.1', '::1'] : null
  }
}

/** Read in place: a few microseconds, where the pool's threads may all be busy. */
function readHosts(path: string): ReadonlyMap<string, readonly string[]> {
  try {
    return parseHosts(readFileSync(path, 'utf8'))
  } catch {
    // A machine without a hosts file is in order.
    return new Map()
  }
}

/** `address name name… # remark`, a line each; IPv4 before IPv6 of one name, as loopback servers expect. */
export function parseHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const hosts = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [address, ...names] = (line.split('#')[0] ?? '').trim().split(/\s+/)
    const canonical = address === undefined ? null : canonicalIp(address)
    if (canonical === null) continue
    for (const name of names) {
      const known = hosts.get(name.toLowerCase()) ?? []
      if (!known.includes(canonical)) known.push(canonical)
      hosts.set(name.toLowerCase(), known)
    }
  }
  for (const known of hosts.values()) {
    known.sort((a, b) => Number(a.includes(':')) - Number(b.includes(':')))
  }
  return hosts
}

async function settled<T>(
  work: Promise<T>,
  keep: (answer: PromiseSettledResult<T>) => void,
): Promise<void> {
  const [answer] = await Promise.allSettled([work])
  keep(answer)
}

function noAddress(answers: readonly (Answer | null)[]): Error {
  for (const answer of answers) {
    if (answer?.status !== 'rejected') continue
    const code: unknown = Reflect.get(Object(answer.reason), 'code')
    if (code === 'ENODATA' || code === 'ENOTFOUND') continue
    return netError('resolve', { call: 'resolve', system: String(code), cause: answer.reason })
  }
  return netError('no-address', { call: 'resolve', system: 'ENOTFOUND' })
}
