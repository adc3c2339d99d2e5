import { styleText } from 'node:util'
import pino from 'pino'
import type { LogConfig, LogTarget } from '../config/config.ts'
import type { EngineEvent, EventSink } from './events.ts'
import { accessFields, eventLine, noPaint } from './lines.ts'

/** Where lines go that no file was named for. */
export interface Terminal {
  write(text: string): void
  /** Lines for people; else one JSON object a line. */
  readonly isForPeople: boolean
  readonly hasColour: boolean
}

export interface Log {
  readonly sink: EventSink
  /** Lines that could not be written, to a full disk for instance: the connections go on. */
  readonly lost: number
  close(): void
}

/** Prints the events of an engine as the configuration says. Throws if a log file cannot be opened. */
export function openLog(config: LogConfig, terminal: Terminal): Log {
  const state = { lost: 0 }
  const onLost = (): void => {
    state.lost += 1
  }
  const access = writerOf(config.access, terminal, onLost)
  const error = config.level === 'none' ? null : writerOf(config.error, terminal, onLost)
  return {
    sink: event => {
      const writer = event.kind === 'flow-ended' ? access : error
      writer?.write(event)
    },
    get lost() {
      return state.lost
    },
    close: () => {
      access?.close()
      error?.close()
    },
  }
}

interface Writer {
  write(event: EngineEvent): void
  close(): void
}

function writerOf(target: LogTarget, terminal: Terminal, onLost: () => void): Writer | null {
  switch (target.kind) {
    case 'off':
      return null
    case 'file':
      return jsonFile(target.path, onLost)
    case 'console':
      return terminal.isForPeople ? forPeople(terminal) : jsonLines(terminal)
    default:
      return target satisfies never
  }
}

function forPeople(terminal: Terminal): Writer {
  const paint = terminal.hasColour
    ? (style: 'dim' | 'red' | 'yellow' | 'green', text: string): string =>
        styleText(style, text, { validateStream: false })
    : noPaint
  return {
    write: event => {
      const line = eventLine(event, paint)
      if (line !== null) terminal.write(`${line}\n`)
    },
    close: () => undefined,
  }
}

function jsonLines(terminal: Terminal): Writer {
  const logger = pino({ base: null }, { write: (line: string) => terminal.write(line) })
  return { write: event => put(logger, event), close: () => undefined }
}

function jsonFile(path: string, onLost: () => void): Writer {
  const destination = pino.destination({ dest: path, mkdir: true, sync: false })
  destination.on('error', onLost)
  const logger = pino({ base: null }, destination)
  return {
    write: event => put(logger, event),
    close: () => {
      destination.flushSync()
      destination.end()
    },
  }
}

function put(logger: pino.Logger, event: EngineEvent): void {
  switch (event.kind) {
    case 'flow-ended':
      logger.info({ event: event.kind, ...accessFields(event.record) })
      break
    case 'fault':
      logger.error({
        event: event.kind,
        where: event.where,
        code: event.why.code,
        message: event.why.message,
      })
      break
    case 'listening':
    case 'draining':
    case 'stopped': {
      const { kind, ...fields } = event
      logger.info({ event: kind, ...fields })
      break
    }
    default:
      event satisfies never
  }
}
