import type { Bytes } from '../bytes/bytes.ts'
import { asError, type SluiceError } from './errors.ts'
import { limits } from './limits.ts'
import { type Halves, type Link, Moved } from './link.ts'
import { failed } from './scope.ts'

/**
 * The last word of a server to a client that it refuses: `bytes`, then the end, then what the client
 * still sends is dropped within a bound, so that no reset overtakes the answer. The link ends by
 * itself soon after, or at once if it has failed already; its scope holds whatever is left until then.
 */
export async function refuseWith(halves: Halves, bytes: Bytes, why: SluiceError): Promise<void> {
  const timer = halves.scope.timer('refusal', () => {
    void halves.scope.end(failed(why))
  })
  timer.setAfter(limits.refusalMs)
  try {
    await write(halves, bytes)
    await halves.sink.closeWrite()
    halves.source.cancel(why)
  } catch (thrown) {
    await halves.scope.end(failed(asError(thrown)))
  }
}

/** Writes one message of a handshake; the halves follow if the sink moves. */
export async function write(halves: Halves, bytes: Bytes): Promise<void> {
  const moved = await halves.sink.write(bytes)
  if (moved instanceof Moved) halves.sink = moved.to
}

/** Writes the last message of a handshake on a whole link and gives the link back. */
export async function say(link: Link, bytes: Bytes): Promise<Link> {
  const halves = link.takeApart()
  await write(halves, bytes)
  return halves.join()
}
