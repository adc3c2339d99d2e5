/** How far a flow has come, as data: the code runs on it and the documentation draws it. */
export type FlowStage =
  /** The inbound reads the client's head; the handshake deadline runs. */
  | 'accepting'
  /** The outbound dials; the client is watched and one chunk of it read ahead. */
  | 'dialing'
  /** The inbound says yes in its protocol's words. */
  | 'opening'
  /** Both directions run. */
  | 'relaying'
  /** Nothing of it is left; the record is made. */
  | 'over'

export const flowStages: Readonly<Record<FlowStage, readonly FlowStage[]>> = {
  accepting: ['dialing', 'over'],
  dialing: ['opening', 'relaying', 'over'],
  opening: ['relaying', 'over'],
  relaying: ['over'],
  over: [],
}
