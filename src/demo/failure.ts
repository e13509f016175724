/** It did not go as promised: what was seen instead. */
export class DemoFailed extends Error {
  override readonly name = "DemoFailed";
}
