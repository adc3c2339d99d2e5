import { formatEndpoint } from '../core/endpoint.ts'
import type { EngineEvent, FlowRecord } from './events.ts'

type Paint = (style: 'dim' | 'red' | 'yellow' | 'green', text: string) => string
/** Leaves text as it is: for files and for terminals without colour. */
export const noPaint: Paint = (_style, text) => text

/** `950 B`, `1.2 kB`, `16.8 MB`: powers of ten, as networks count. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let value = bytes
  let unit = 0
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1_000
    unit += 1
  }
  return `${unit === 0 ? String(value) : value.toFixed(1)} ${units[unit] ?? ''}`
}

/** `12 ms`, `3.4 s`, `5 min 3 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${String(Math.round(ms))} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  const seconds = Math.round(ms / 1_000)
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${String(minutes)} min ${String(seconds % 60)} s`
  return `${String(Math.floor(minutes / 60))} h ${String(minutes % 60)} min`
}

/** The whole life of a flow in one line for people. */
export function accessLine(record: FlowRecord, paint: Paint = noPaint): string {
  const at = new Date(record.startedAt + record.durationMs).toISOString().slice(11, 23)
  const who = record.user === null ? '' : ` ${printable(record.user)}`
  const target = record.target === null ? 'any' : printable(formatEndpoint(record.target))
  const via = record.outbound === null ? '' : ` via ${record.outbound}`
  const bytes = `up ${formatBytes(record.up.written)} down ${formatBytes(record.down.written)}`
  return [
    `${paint('dim', at)} #${String(record.id)} ${record.inbound}${who}`,
    `${formatEndpoint(record.source)} -> ${record.network}:${target}${via}`,
    `${bytes} in ${formatDuration(record.durationMs)}`,
    ending(record, paint),
  ].join('  ')
}

function ending(record: FlowRecord, paint: Paint): string {
  if (record.reason === 'clean') return paint('green', 'clean')
  const parts = [record.reason, record.side === 'local' ? '' : `by ${record.side} side`]
  if (record.call !== null) parts.push(`in ${record.call}`)
  if (record.system !== null) parts.push(record.system)
  if (record.stage !== 'relaying') parts.push(`while ${record.stage}`)
  const text = parts.filter(part => part !== '').join(' ')
  return paint(
    record.reason === 'error' ? 'red' : 'yellow',
    `${text}: ${record.why?.message ?? ''}`,
  )
}

/** What a client chose never forges a line: control characters are shown as `?`. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?')
}

/** The fields of an access line for programs. */
export function accessFields(record: FlowRecord): Readonly<Record<string, unknown>> {
  const { why, source, target, ...rest } = record
  return {
    ...rest,
    source: formatEndpoint(source),
    target: target === null ? null : formatEndpoint(target),
    message: why?.message ?? null,
  }
}

/** Any other event as a line for people; null for those that nobody wants to read. */
export function eventLine(event: EngineEvent, paint: Paint = noPaint): string | null {
  switch (event.kind) {
    case 'flow-ended':
      return accessLine(event.record, paint)
    case 'listening':
      return null
    case 'fault':
      return `${paint('red', 'fault')} ${event.where}: ${event.why.message} [${event.why.code}]`
    case 'draining':
      if (event.flows === 0) return null
      return `stopping: ${String(event.flows)} connections have ${formatDuration(event.graceMs)} to end`
    case 'stopped':
      return `closed ${String(event.flows)} connections in ${formatDuration(event.durationMs)}, ${String(event.left)} left`
    default:
      return event satisfies never
  }
}
