import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import net from 'node:net'
import { becomes, collectGarbage } from './resources.ts'

/** Node's sockets that were accepted or dialled in this process since the call. */
export interface SocketSpy extends Disposable {
  readonly sockets: readonly net.Socket[]
  readonly accepted: readonly net.Socket[]
  readonly dialled: readonly net.Socket[]
  /** Forgets those seen so far. */
  clear(): void
}

const acceptedChannel = 'net.server.socket'

/** Sees the sockets beneath everything else, until disposed. */
export function spySockets(): SocketSpy {
  const accepted: net.Socket[] = []
  const dialled: net.Socket[] = []
  const clear = (): void => {
    accepted.length = 0
    dialled.length = 0
  }
  const onAccepted = (message: unknown): void => {
    const socket: unknown = Reflect.get(Object(message), 'socket')
    if (socket instanceof net.Socket) accepted.push(socket)
  }
  subscribe(acceptedChannel, onAccepted)
  const { prototype } = net.Socket
  const connect = prototype.connect
  Reflect.set(prototype, 'connect', function (this: net.Socket, ...args: unknown[]): unknown {
    dialled.push(this)
    return Reflect.apply(connect, this, args)
  })
  return {
    accepted,
    dialled,
    get sockets() {
      return [...accepted, ...dialled]
    },
    clear,
    [Symbol.dispose]: () => {
      clear()
      unsubscribe(acceptedChannel, onAccepted)
      Reflect.set(prototype, 'connect', connect)
    },
  }
}

/** Follows the sockets made from now on without holding them. */
export function watchSockets(): {
  /** Whether there were so many, and the collector has found that nobody holds one of them. */
  areCollected(count: number): Promise<boolean>
} {
  const spy = spySockets()
  let refs: WeakRef<net.Socket>[] = []
  return {
    areCollected: async count => {
      refs = spy.sockets.map(socket => new WeakRef(socket))
      spy[Symbol.dispose]()
      if (refs.length !== count) return false
      return becomes(() => {
        collectGarbage()
        return refs.every(ref => ref.deref() === undefined)
      })
    },
  }
}
