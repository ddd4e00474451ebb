import { AppError } from '../operation/errors.ts'
import type { Actor } from './actor.ts'

/** Why an authentication failed. For the log: callers see only the message. */
export type AuthFailure =
  | 'no_credential'
  /** Not the text of a key or a token, or another spelling of it. */
  | 'malformed'
  | 'unknown_key'
  | 'wrong_secret'
  | 'revoked_key'
  /** The token names a signing key that does not exist, or does not verify any more. */
  | 'unknown_signing_key'
  | 'bad_signature'
  /** The signature is right, the content is not that of this kind of token. */
  | 'wrong_content'
  | 'expired'
  | 'not_yet_valid'
  /** Its lifetime is longer than any that this server grants. */
  | 'too_long_lived'
  /** Issued after its signing key was replaced. */
  | 'replaced_signing_key'
  /** The API key that issued the token was revoked. */
  | 'revoked_key_of_token'
  /** The tokens of its user were revoked. */
  | 'revoked_user_tokens'
  /** It was made without a key, in open mode, which is over. */
  | 'open_mode_over'

/** UNAUTHORIZED, with the reason for the log. */
export class AuthError extends AppError {
  readonly failure: AuthFailure
  /** Whose credential it is. Only for one that is genuine, and no longer valid. */
  readonly actor: Actor | undefined

  constructor(
    failure: AuthFailure,
    options: { message?: string; cause?: unknown; actor?: Actor | undefined } = {},
  ) {
    const { actor, ...rest } = options
    super('UNAUTHORIZED', rest)
    this.failure = failure
    this.actor = actor
  }
}
