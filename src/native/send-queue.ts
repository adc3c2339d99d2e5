import { openSelf } from './ffi.ts'

/** Linux: bytes in a socket's send queue that the peer has not acknowledged. */
const SIOCOUTQ = 0x5411

type Ioctl = (fd: number, request: number, value: Int32Array) => unknown

/** Asks the kernel how much of what was written has not reached the peer. Opens the FFI when first asked. */
export class SendQueue {
  #ioctl: Ioctl | null | undefined

  /** Bytes not yet acknowledged by the peer; null where the kernel cannot be asked. */
  unsentBytes(fd: number): number | null {
    if (this.#ioctl === undefined) this.#ioctl = open()
    if (this.#ioctl === null) return null
    const value = new Int32Array(1)
    if (this.#ioctl(fd, SIOCOUTQ, value) !== 0) return null
    return value[0] ?? null
  }
}

function open(): Ioctl | null {
  if (process.platform !== 'linux') return null
  const self = openSelf()
  if (self === null) return null
  return self.func('int ioctl(int fd, unsigned long request, _Out_ int32_t *value)')
}
