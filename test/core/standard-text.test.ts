import assert from "node:assert/strict";
import { test } from "node:test";
import { standardText } from "../../src/core/standard-text.ts";
import { queryText } from "../../src/query-text.ts";

const show = await queryText("masked");

const statements = {
  backslash: [
    [`select * from t where name = "secret"`, "select * from t where name = ?"],
    ["select 'a''secret', \"b\"\"secret\" from `or``der`", 'select ?, ? from "or`der"'],
    ["select 1 # secret 'x\n from t", "select ? from t"],
    ['select 1 -- secret" x\n from t', "select ? from t"],
    ["select 1 --secret\n from t", "select ? from t"],
    ["select /* secret ' */ 2", "select ?"],
    ["select /*!50000 secret */ 2", "select ?"],
    ['select 1, "secret cut o', "select ?, …"],
    ["select 'secret\\\\', 'secret'", "select ?, ?"],
    // In a session that takes a backslash for a backslash it ends elsewhere.
    [`update t set a = 'it\\'s secret' where b = "sec\\"ret"`, "update t set a = …"],
    ["select 'a\\' , 'secret'", "select …"],
    // Minus of a minus, or a comment.
    ["select 1--'secret\n secret'", "select ? …"],
    ["select /*! 'secret */', secret' */ 1", "select …"],
    ['select /*+ index(t "secret*/secret") */ 1', "select …"],
    // What begins a literal elsewhere.
    ["select $$, 'a$$ secret', 1", "select _$, ?, ?"],
    ["select e'\\\\', 'secret'", "select e ?, ?"],
    ["select u&'secret', _utf8'secret', x'5ec3e7', N'secret'", "select u& ?, _utf8 ?, x ?, N ?"],
    ["select 'secret'\"secret\"'secret'", "select ? ? ?"],
    ["select a$b from v$c", "select a$b from v$c"],
  ],
  alternative: [
    ["select q'[it's secret]' from dual", "select ? from dual"],
    ["select nQ'!secret's!', 'x\\\\' from \"Order\"", 'select ?, ? from "Order"'],
    ["select 'x\\', 'secret' from dual", "select …"],
    [`select q'<secret" cut o`, "select …"],
    ["select 'sec''ret' from \"Or'der\" where faq = 1", "select ? from ? where faq = ?"],
    ["update t set a = 1 -- q'[secret", "update t set a = ?"],
    ["select q'\u{1f512}it's secret\u{1f512}' from dual", "select …"],
    ["select * from v$session where u = '$$' and w = 'secret $$'", "select * from v$session where u = ? and w = ?"],
  ],
} as const;

for (const quoting of ["backslash", "alternative"] as const) {
  test(`quoting by ${quoting}: whatever way a constant is written, nothing of it is shown`, () => {
    for (const [query, shown] of statements[quoting]) {
      const text = show({ query, quoting });
      assert.equal(text, shown, query);
      assert.doesNotMatch(text ?? "", /secret/);
    }
  });
}

test("a statement without anything of the kind stays as it is", () => {
  const sql = "UPDATE app.user_session SET n = n + 1 WHERE id = 4";
  for (const quoting of ["backslash", "alternative"] as const) assert.equal(standardText(sql, quoting), sql);
});
