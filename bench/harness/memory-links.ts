import * as v from 'valibot'
import type { Bytes } from '../../src/bytes/bytes.ts'
import { defineOutbound, type Outbound } from '../../src/contract/outbound.ts'
import { defineTransport, type Transport } from '../../src/contract/transport.ts'
import { type Endpoint, parsePort } from '../../src/core/endpoint.ts'
import { coreError } from '../../src/core/errors.ts'
import { Link, type Now, type Sink, type Source } from '../../src/core/link.ts'
import { type Ending, failed, type Scope } from '../../src/core/scope.ts'
import type { ListenHandlers } from '../../src/net/listen.ts'

const nowhere: Endpoint = { host: '192.0.2.1', port: parsePort(1) }

/** What the far end of a link in memory does. */
export interface Script {
  /** Chunks that it sends before it ends. */
  readonly chunks: number
  readonly chunk: Bytes
  /** Values given in one turn before a promise; 0: promises only, for reads and writes alike. */
  readonly valuesPerTurn: number
  /** True: after its chunks it is silent until its scope ends, instead of ending. */
  readonly staysOpen: boolean
}

/** A link with as little in it as a link can have: what remains is the cost of what stands on it. */
export class MemoryLink implements Source, Sink {
  readonly ends = 'half' as const
  readonly resets = 'plain' as const
  readonly waitingBytes = 0
  readonly #script: Script
  readonly #scope: Scope
  #left: number
  #values = 0
  #reader: PromiseWithResolvers<null> | null = null

  private constructor(scope: Scope, script: Script) {
    this.#scope = scope
    this.#script = script
    this.#left = script.chunks
    scope.hold('socket', 'memory', ending => {
      this.#release(ending)
    })
  }

  static over(owner: Scope, name: string, script: Script): Link {
    const scope = owner.child('leg', name)
    const halves = new MemoryLink(scope, script)
    const path = { remote: nowhere, local: nowhere }
    return new Link({ path, scope, onGone: () => undefined }, halves, halves)
  }

  read(): Now<Bytes | null> {
    if (this.#left > 0) {
      this.#left -= 1
      if (this.#values < this.#script.valuesPerTurn) {
        this.#values += 1
        return this.#script.chunk
      }
      this.#values = 0
      return Promise.resolve(this.#script.chunk)
    }
    if (!this.#script.staysOpen) return null
    this.#reader = Promise.withResolvers<null>()
    return this.#reader.promise
  }
  cancel(): void {
    return undefined
  }
  write(): Now<undefined> {
    return this.#script.valuesPerTurn === 0 ? Promise.resolve(undefined) : undefined
  }
  flush(): undefined {
    return undefined
  }
  closeWrite(): undefined {
    return undefined
  }
  reset(why: Parameters<Sink['reset']>[0]): void {
    void this.#scope.end(failed(why))
  }
  #release(ending: Ending): void {
    this.#reader?.reject(ending.kind === 'failed' ? ending.why : coreError('spent'))
  }
}

/** A listener whose connections come from `accept` instead of a socket. */
export class MemoryTransport {
  #owner: Scope | null = null
  #handlers: ListenHandlers | null = null
  readonly transport: Transport

  constructor() {
    this.transport = defineTransport({
      type: 'raw',
      options: v.strictObject({}),
      create: () => ({
        listen: (owner, where, handlers) => {
          this.#owner = owner
          this.#handlers = handlers
          return Promise.resolve({ local: where, stop: () => Promise.resolve() })
        },
        dial: () => Promise.reject(coreError('bug')),
      }),
    })
  }

  /** The scope that its links belong to. */
  get owner(): Scope {
    if (this.#owner === null) throw coreError('bug', { detail: { what: 'nobody listens' } })
    return this.#owner
  }

  accept(script: Script): void {
    this.#handlers?.onLink(MemoryLink.over(this.owner, 'near', script))
  }
}

/** Every dial succeeds at once and gives a link with this script. */
export function memoryOutbound(script: () => Script): Outbound {
  return defineOutbound({
    type: 'freedom',
    options: v.strictObject({}),
    create: () => ({
      link: (_request, scope) => Promise.resolve(MemoryLink.over(scope, 'far', script())),
      packets: () => Promise.reject(coreError('bug')),
    }),
  })
}
