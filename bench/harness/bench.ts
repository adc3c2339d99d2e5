import type { Report } from './report.ts'

export interface Settings {
  /** How often everything is measured, in turn. */
  readonly runs: number
  /** How long one measurement takes. */
  readonly seconds: number
  /** A folder that is removed at the end. */
  readonly folder: string
  /** Where Sluice's processor profiles go; null: none are made. */
  readonly profileFolder: string | null
  /** Tells the reader what happens now. */
  readonly say: (text: string) => void
}

/** One question. */
export interface Bench {
  readonly name: string
  run(settings: Settings): Promise<Report>
}
