import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { EngineEvent } from '../../src/index.ts'
import type { ChildCommand, ChildCommands, ChildOptions } from './engine-child.ts'
import { within } from './resources.ts'
import { checkHeard, Heard, type Records, type SeenRecord } from './tunnel.ts'

const program = fileURLToPath(new URL('engine-child.ts', import.meta.url))
const startMs = 30_000
const patienceMs = 5_000

interface Message {
  readonly id?: number
  readonly is?: unknown
  readonly error?: string
  readonly record?: SeenRecord
  readonly event?: EngineEvent
}
interface Pending {
  readonly resolve: (answer: unknown) => void
  readonly reject: (why: Error) => void
}

/** An engine in another process, as the one of `startTunnel`. */
export class ChildEngine implements AsyncDisposable {
  readonly heard = new Heard()
  #ports: Readonly<Record<string, number>> = {}
  #rest: readonly string[] = []
  readonly #child: ChildProcess
  readonly #pending = new Map<number, Pending>()
  readonly #gone = Promise.withResolvers<void>()
  #lastId = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (message: Message) => {
      this.#hear(message)
    })
    child.on('error', error => {
      this.#end(error)
    })
    child.on('exit', code => {
      this.#end(new Error(`the engine's process has ended with ${String(code)}`))
    })
  }

  /** `through` begins the command line, as `['ip', 'netns', 'exec', 'NAME']`. */
  static async start(options: ChildOptions, through: readonly string[] = []): Promise<ChildEngine> {
    const [command, ...args] = [...through, process.execPath, program]
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const
    const engine = new ChildEngine(spawn(command, args, { stdio: [...stdio] }))
    try {
      engine.#ports = await within(engine.do('start', options), startMs, 'a start')
      engine.#rest = await engine.do('ledger')
    } catch (thrown) {
      await engine[Symbol.asyncDispose]()
      throw thrown
    }
    return engine
  }

  get records(): Records {
    return this.heard.records
  }
  port(tag = 'tunnel'): number {
    const port = this.#ports[tag]
    assert.ok(port !== undefined, `there is an inbound "${tag}"`)
    return port
  }

  async do<K extends ChildCommand>(
    what: K,
    ...[given]: Parameters<ChildCommands[K]>
  ): Promise<ReturnType<ChildCommands[K]>> {
    this.#lastId += 1
    const id = this.#lastId
    const answer = await new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#child.send({ id, what, given })
    })
    return answer as ReturnType<ChildCommands[K]>
  }

  /** What `withEngine` looks at when all flows are over, then the end of the process. */
  async finish(): Promise<void> {
    const limit = performance.now() + patienceMs
    while ((await this.do('flows')) > 0 && performance.now() < limit);
    assert.deepEqual(await this.do('ledger'), this.#rest, 'the ledger is as it was before')
    const { left, bugs, before, after } = await this.do('stop', 0)
    assert.equal(left, 0, 'rows left after the stop')
    checkHeard(this.heard, bugs)
    assert.equal(after, before, 'the process is as it was before')
  }

  #hear({ id, is, error, record, event }: Message): void {
    if (record !== undefined) this.records.add(record)
    if (event !== undefined) this.heard.events.push(event)
    if (id === undefined) return
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (error === undefined) pending?.resolve(is)
    else pending?.reject(new Error(error))
  }

  #end(why: Error): void {
    for (const { reject } of this.#pending.values()) reject(why)
    this.#pending.clear()
    this.#gone.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL')
    }
    await this.#gone.promise
  }
}

/** `withEngine` for an engine in another process. */
export async function withChildEngine(
  options: ChildOptions,
  through: readonly string[],
  body: (engine: ChildEngine) => Promise<void>,
): Promise<void> {
  await using engine = await ChildEngine.start(options, through)
  await body(engine)
  await engine.finish()
}
