/** Bytes in every signature; `Buffer` stays inside `net/`, `tls/`, `http/` and `native/`. */
export type Bytes = Uint8Array

/**
 * What a pure decoder answers. `done`: the value and how many bytes it took from the front.
 * `need`: at least so many bytes more before it can say anything else.
 * A decoder throws an error with blame `peer` for bytes that no continuation can make right.
 */
export type Decoded<T> =
  | { readonly kind: 'done'; readonly value: T; readonly size: number }
  | { readonly kind: 'need'; readonly bytes: number }

/**
 * A pure decoder. `seen` bytes at the front were already shown in an earlier call that answered
 * `need`, so a search for a terminator can go on where it stopped.
 */
export type Decoder<T> = (bytes: Bytes, seen: number) => Decoded<T>

export function done<T>(value: T, size: number): Decoded<T> {
  return { kind: 'done', value, size }
}

export function need(bytes: number): Decoded<never> {
  return { kind: 'need', bytes }
}

/** One array with all of `parts` in order; a single part is returned as it is, not copied. */
export function concat(parts: readonly Bytes[]): Bytes {
  const [only] = parts
  if (only !== undefined && parts.length === 1) return only
  let size = 0
  for (const part of parts) size += part.length
  const whole = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** A copy with memory of its own, for what was only borrowed. */
export function copyOf(bytes: Bytes): Bytes {
  return new Uint8Array(bytes)
}

const utf8 = new TextEncoder()
export function utf8Bytes(text: string): Bytes {
  return utf8.encode(text)
}

/** Bytes as text, one character a byte (ISO 8859-1), so that nothing is lost or replaced. */
export function latin1Text(bytes: Bytes): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/** The reverse of `latin1Text`; characters above 255 keep their low byte. */
export function latin1Bytes(text: string): Bytes {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}
