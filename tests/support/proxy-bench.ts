import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type Engine,
  type EngineEvent,
  type FlowRecord,
  parseConfig,
  parsePort,
  type SluiceConfig,
  start,
  type StartOptions,
} from '../../src/index.ts'
import { Client } from './proxy-client.ts'
import { UdpPeer } from './proxy-udp.ts'
import { becomes, within } from './proxy-wait.ts'

export interface ProxySetup extends Omit<StartOptions, 'onEvent'> {
  /** As in a configuration; on 127.0.0.1 and a free port unless they say `listen`. */
  readonly inbounds: readonly Readonly<Record<string, unknown>>[]
  readonly outbounds?: readonly Readonly<Record<string, unknown>>[]
}

type Fault = Extract<EngineEvent, { kind: 'fault' }>

/** Wakes all who wait for the next event. */
class Heard {
  #next = Promise.withResolvers<void>()

  next(): Promise<void> {
    return this.#next.promise
  }
  tell(): void {
    this.#next.resolve()
    this.#next = Promise.withResolvers<void>()
  }
}

/** What an engine has said. */
class Story {
  readonly records: FlowRecord[] = []
  readonly faults: Fault[] = []
  readonly heard: Heard = new Heard()
  isStopping = false

  hear(event: EngineEvent): void {
    if (event.kind === 'fault') this.faults.push(event)
    if (event.kind === 'flow-ended') this.records.push(event.record)
    if (event.kind === 'draining') this.isStopping = true
    this.heard.tell()
  }
}

/** A running engine and everything it has said. */
export class Proxy {
  readonly engine: Engine
  readonly #story: Story
  readonly #atRest: readonly string[]
  #taken = 0

  private constructor(engine: Engine, story: Story) {
    this.engine = engine
    this.#story = story
    this.#atRest = this.#rows()
  }

  static async start(setup: ProxySetup): Promise<Proxy> {
    const { inbounds: _in, outbounds: _out, ...options } = setup
    const story = new Story()
    const onEvent = (event: EngineEvent): void => {
      story.hear(event)
    }
    return new Proxy(await start(configOf(setup), { ...options, onEvent }), story)
  }

  get faults(): readonly Fault[] {
    return this.#story.faults
  }
  /** Records so far, oldest first. */
  get records(): readonly FlowRecord[] {
    return this.#story.records
  }

  /** The port of an inbound, by its tag. */
  port(tag = this.engine.inbounds[0]?.tag): number {
    const inbound = this.engine.inbounds.find(one => one.tag === tag)
    assert.ok(inbound, `there is no inbound ${String(tag)}`)
    return inbound.local.port
  }

  /** The record of the next flow that ends; each record is given once. */
  async ended(): Promise<FlowRecord> {
    const [record] = await this.endedAll(1)
    assert.ok(record)
    return record
  }

  /** The records of the next `count` flows that end. */
  async endedAll(count: number): Promise<readonly FlowRecord[]> {
    const from = this.#taken
    this.#taken += count
    const wait = async (): Promise<void> => {
      while (this.records.length < from + count) await this.#story.heard.next()
    }
    await within(wait(), `${String(count)} flows to end`, () => this.#rows().join('\n'))
    return this.records.slice(from, from + count)
  }

  /** Nothing but the listeners is left, by itself. */
  async rests(): Promise<void> {
    if (this.#story.isStopping) return
    const isBack = (): boolean => this.engine.flows === 0 && same(this.#rows(), this.#atRest)
    if (!(await becomes(isBack))) assert.deepEqual(this.#rows(), this.#atRest)
    assert.deepEqual(this.engine.bugs, [])
  }

  /** Ends it, and nothing may be left. */
  async stop(graceMs = 0): Promise<void> {
    assert.equal(await this.engine.stop(graceMs), 0, 'ledger rows left after the stop')
    assert.equal(this.engine.ledger().length, 1)
    assert.deepEqual(this.engine.bugs, [])
  }

  #rows(): string[] {
    return this.engine
      .ledger()
      .map(row => `${'  '.repeat(row.depth)}${row.kind} ${row.name} ${row.note}`)
  }
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((row, at) => row === b[at])
}

function configOf({ inbounds, outbounds, protocols }: ProxySetup): SluiceConfig {
  const text = JSON.stringify({
    inbounds: inbounds.map((inbound, at) => {
      const where = { listen: '127.0.0.1', ...inbound }
      return /^[/@]/.test(where.listen) ? where : { port: at + 1, ...where }
    }),
    outbounds: outbounds ?? [{ tag: 'direct', protocol: 'freedom' }],
  })
  const { config } = parseConfig('test', text, protocols === undefined ? {} : { protocols })
  // A configuration cannot ask for any free port, a test must.
  const free = config.inbounds.map(inbound => ({ ...inbound, port: parsePort(0) }))
  return { ...config, inbounds: free }
}

export interface ClientOptions {
  /** 127.0.0.1 if left out. */
  readonly host?: string
  /** The local address. */
  readonly from?: string
  /** How long a connection may take. */
  readonly patienceMs?: number
}

/** What a listener of a test has accepted. */
export interface Origin {
  readonly port: number
  /** Every connection so far. */
  readonly clients: readonly Client[]
  /** The next connection that nobody has asked for yet. */
  accepted(): Promise<Client>
}

/**
 * Everything a test opens. At its end, what the test left open is closed, each proxy must then come to
 * rest by itself, stop with nothing left, and the process must have the sockets it had before.
 */
export class Bench implements AsyncDisposable {
  readonly #socketsBefore = openSockets()
  readonly #proxies: Proxy[] = []
  readonly #clients: Client[] = []
  readonly #servers: net.Server[] = []
  readonly #peers: UdpPeer[] = []
  readonly #children: ChildProcess[] = []
  readonly #folders: string[] = []

  async proxy(setup: ProxySetup): Promise<Proxy> {
    const proxy = await Proxy.start(setup)
    this.#proxies.push(proxy)
    return proxy
  }

  /** Connects to a port, or to the path of a UNIX socket; settled when connected. */
  async client(to: number | string, options: ClientOptions = {}): Promise<Client> {
    const where =
      typeof to === 'string'
        ? { path: to }
        : {
            host: options.host ?? '127.0.0.1',
            port: to,
            ...(options.from === undefined ? {} : { localAddress: options.from }),
          }
    const socket = net.connect({ ...where, allowHalfOpen: true })
    const client = new Client(socket)
    this.#clients.push(client)
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    await within(connected, 'a connection', undefined, options.patienceMs)
    return client
  }

  /** A TCP origin; each connection is given to `onClient`, at once. */
  async origin(
    onClient: (client: Client) => void = () => undefined,
    listen: net.ListenOptions = { host: '127.0.0.1', port: 0, backlog: 4096 },
  ): Promise<Origin> {
    const clients: Client[] = []
    const heard = new Heard()
    const server = net.createServer({ allowHalfOpen: true }, socket => {
      const client = new Client(socket)
      this.#clients.push(client)
      clients.push(client)
      onClient(client)
      heard.tell()
    })
    await this.#listen(server, listen)
    let taken = 0
    return {
      port: portOf(server),
      clients,
      accepted: async () => {
        const at = taken
        taken += 1
        const wait = async (): Promise<Client> => {
          for (;;) {
            const client = clients[at]
            if (client !== undefined) return client
            await heard.next()
          }
        }
        return within(wait(), 'a connection to the origin')
      },
    }
  }

  /** An origin that sends back what it gets, and its end. */
  async echo(): Promise<Origin> {
    return this.origin(({ socket }) => {
      socket.pipe(socket)
    })
  }

  async web(handler: http.RequestListener, host = '127.0.0.1'): Promise<number> {
    const server = http.createServer(handler)
    await this.#listen(server, { host, port: 0, backlog: 4096 })
    return portOf(server)
  }

  async secureWeb(
    handler: http.RequestListener,
    identity: { readonly key: string; readonly cert: string },
  ): Promise<number> {
    const server = https.createServer(identity, handler)
    await this.#listen(server, { host: '127.0.0.1', port: 0 })
    return portOf(server)
  }

  async udp(host = '127.0.0.1', port = 0): Promise<UdpPeer> {
    const peer = await UdpPeer.bind(host, port)
    this.#peers.push(peer)
    return peer
  }

  /**
   * A program that finds a listening socket as its descriptor 3, killed at the end of the test. Gives
   * the port: nobody has to wait until the program is ready.
   */
  async listeningProgram(command: string, args: readonly string[]): Promise<number> {
    const server = net.createServer()
    await new Promise<void>(resolve => {
      server.listen({ host: '127.0.0.1', port: 0 }, resolve)
    })
    const port = portOf(server)
    const descriptor: unknown = Reflect.get(Object(Reflect.get(server, '_handle')), 'fd')
    assert.ok(typeof descriptor === 'number')
    this.#children.push(
      spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', descriptor] }),
    )
    await closed(server)
    return port
  }

  /** A script, by its URL, in a process of its own, with `descriptors` at the most open in it. */
  script(url: string, args: readonly string[], descriptors?: number): ChildProcess {
    const path = fileURLToPath(url)
    const command: readonly [string, readonly string[]] =
      descriptors === undefined
        ? [process.execPath, [path, ...args]]
        : [
            'sh',
            [
              '-c',
              `ulimit -n ${String(descriptors)}; exec "$0" "$@"`,
              process.execPath,
              path,
              ...args,
            ],
          ]
    const child = spawn(command[0], command[1], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#children.push(child)
    return child
  }

  /** A new empty folder. */
  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-'))
    this.#folders.push(folder)
    return folder
  }

  async #listen(server: net.Server, options: net.ListenOptions): Promise<void> {
    this.#servers.push(server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(options, resolve)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const faults: unknown[] = []
    const step = async (work: () => Promise<unknown>): Promise<void> => {
      await work().catch((thrown: unknown) => faults.push(thrown))
    }
    for (const child of this.#children) await step(() => killed(child))
    for (const client of this.#clients) client.socket.destroy()
    for (const server of this.#servers) {
      if (server instanceof http.Server || server instanceof https.Server) {
        server.closeAllConnections()
      }
    }
    for (const proxy of this.#proxies) await step(() => proxy.rests())
    for (const proxy of this.#proxies) await step(() => proxy.stop())
    for (const server of this.#servers) await step(() => closed(server))
    for (const peer of this.#peers) await step(() => peer.close())
    for (const folder of this.#folders) await step(() => rm(folder, { recursive: true }))
    const isBack = (): boolean => openSockets() <= this.#socketsBefore
    if (!(await becomes(isBack))) {
      faults.push(new Error(`sockets open: ${this.#socketsAre()}`))
    }
    if (faults.length > 0) throw new AggregateError(faults, faults.map(String).join('\n'))
  }

  #socketsAre(): string {
    return `${String(openSockets())}, and ${String(this.#socketsBefore)} before`
  }
}

function closed(server: net.Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => {
      resolve()
    })
  })
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const over = new Promise(resolve => {
    child.once('close', resolve)
  })
  child.kill('SIGKILL')
  await over
}

/** The next message of a script. */
export async function said<T>(child: ChildProcess, what: string): Promise<T> {
  const message = new Promise<T>((resolve, reject) => {
    child.once('message', value => {
      // The scripts are ours, and so is the form of what they say.
      resolve(value as T)
    })
    child.once('exit', code => {
      reject(new Error(`the process ended with ${String(code)}`))
    })
  })
  return within(message, `a process to say ${what}`)
}

export function portOf(server: net.Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Sockets of this process, TCP, UDP and UNIX; 0 where nobody can say. */
export function openSockets(): number {
  try {
    return readdirSync('/proc/self/fd').filter(isSocket).length
  } catch {
    return 0
  }
}

function isSocket(descriptor: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`).startsWith('socket:')
  } catch {
    // The one that listed the folder is gone by now.
    return false
  }
}
