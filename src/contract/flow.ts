import type { Endpoint } from '../core/endpoint.ts'
import type { SluiceError } from '../core/errors.ts'
import type { Link } from '../core/link.ts'
import type { PacketLink } from '../core/packets.ts'

/** What a client wants, as an inbound has understood it. */
export interface FlowRequest {
  readonly network: 'tcp' | 'udp'
  /** Where the user wants to go; null where each datagram says it for itself. */
  readonly target: Endpoint | null
  /** Who, where the inbound knows. */
  readonly user: string | null
  /** Where the client is. */
  readonly source: Endpoint
}

/**
 * What an inbound makes of a connection; from then on it has forgotten it. The engine reads ahead on
 * the link while it dials, then calls `open` or `refuse`, once. Both take the link over.
 */
export interface Accepted {
  readonly request: FlowRequest
  readonly link: Link
  /** With these the flow is one of datagrams, and `link` only controls it. */
  readonly packets: PacketLink | null
  /** Says yes, if the protocol has a word for it, and gives the link back for the relay. */
  open(link: Link): Promise<Link>
  /** The protocol's own refusal; the link ends by itself soon after. */
  refuse(link: Link, why: SluiceError): Promise<void>
}
