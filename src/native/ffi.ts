import { createRequire } from 'node:module'

/** A library of the system, opened through the FFI package; only this file knows that package. */
export interface ForeignLibrary {
  /** `declaration` in C, as `int ioctl(int fd, unsigned long request, _Out_ int *value)`. */
  func(declaration: string): (...args: unknown[]) => unknown
}

interface Koffi {
  load(path: string | null): ForeignLibrary
}

/** The running process's own symbols, libc among them; null where the FFI package is not installed. */
export function openSelf(): ForeignLibrary | null {
  try {
    const koffi: unknown = createRequire(import.meta.url)('koffi')
    return isKoffi(koffi) ? koffi.load(null) : null
  } catch {
    // Absent or not built for this system: everything works without it.
    return null
  }
}

function isKoffi(loaded: unknown): loaded is Koffi {
  return typeof loaded === 'object' && loaded !== null && 'load' in loaded
}
