import { concat } from '../../bytes/bytes.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { formatEndpoint, parsePort } from '../../core/endpoint.ts'
import type { Path } from '../../core/link.ts'
import { type PacketLink, PushedPackets } from '../../core/packets.ts'
import type { Scope } from '../../core/scope.ts'
import { bindUdp } from '../../net/udp.ts'
import { isIp } from '../../wire/address.ts'
import { decodeUdpHeader, encodeUdpHeader, socksError } from './wire.ts'

/**
 * Opens the UDP side of an association (RFC 1928 section 7): a socket of its own beside the control
 * connection. Only the client's own address may use it, and only one port of it: the one it named, or
 * the first it sends from. Anything else, and fragments, are dropped and counted.
 */
export async function udpAssociate(
  flow: Scope,
  control: Path,
  named: Endpoint,
  announce: string | undefined,
): Promise<{ readonly packets: PacketLink; readonly bound: Endpoint }> {
  const host = control.local.host
  if (isIp(host) === 0) throw socksError('command-refused')
  const scope = flow.child('packets', `socks ${formatEndpoint(control.remote)}`)
  let client: Endpoint | null =
    named.port === 0 ? null : { host: control.remote.host, port: named.port }
  let foreign = 0
  const socket = await bindUdp(
    scope,
    { host, port: parsePort(0) },
    (bytes, from) => {
      client ??= from.host === control.remote.host ? from : null
      if (client === null || from.host !== client.host || from.port !== client.port) {
        foreign += 1
        return
      }
      const header = headerOf(bytes)
      if (header === null) foreign += 1
      else packets.push(bytes.subarray(header.size), header.peer)
    },
    () => undefined,
  )
  const packets = new PushedPackets(scope, socket.local, 'per-packet', packet => {
    if (client === null) return false
    return socket.send(concat([encodeUdpHeader(packet.peer), packet.bytes]), client)
  })
  scope.setNote(() => `foreign ${String(foreign)} dropped ${String(packets.dropped)}`)
  return { packets, bound: { host: announce ?? host, port: socket.local.port } }
}

/** Null for what is no whole datagram of SOCKS. */
function headerOf(bytes: Uint8Array): { readonly size: number; readonly peer: Endpoint } | null {
  try {
    const header = decodeUdpHeader(bytes)
    if (header.kind !== 'done' || header.value.fragment !== 0) return null
    // No datagram can be sent to port 0.
    if (header.value.peer.port === 0) return null
    return { size: header.size, peer: header.value.peer }
  } catch {
    // A datagram that is wrong is dropped like one that got lost.
    return null
  }
}
