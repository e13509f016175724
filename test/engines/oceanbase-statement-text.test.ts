import assert from "node:assert/strict";
import { test } from "node:test";
import { statementText } from "../../src/engines/oceanbase/statement-text.ts";
import { queryText } from "../../src/query-text.ts";

const show = await queryText("masked");

const statements = {
  mysql: [
    [`select * from t where name = "secret"`, "select * from t where name = ?"],
    [`update t set a = 'it\\'s secret' where b = "sec\\"ret"`, "update t set a = ? where b = ?"],
    ["select 'a''secret', \"b\"\"secret\" from `or``der`", 'select ?, ? from "or`der"'],
    ["select 1 # secret 'x\n from t", "select ? from t"],
    ['select 1 -- secret" x\n from t', "select ? from t"],
    ["select /* secret ' */ 2", "select ?"],
    ['select 1, "secret cut o', "select ?, …"],
    ["select 'secret\\\\', 'secret'", "select …"],
  ],
  oracle: [
    ["select q'[it's secret]' from dual", "select ? from dual"],
    ["select nQ'!secret's!', 'x\\' from \"Order\"", "select …"],
    [`select q'<secret" cut o`, "select …"],
    ["select 'sec''ret' from \"Or'der\" where faq = 1", "select ? from ? where faq = ?"],
    ["update t set a = 1 -- q'[secret", "update t set a = ?"],
  ],
} as const;

for (const mode of ["mysql", "oracle"] as const) {
  test(`${mode} mode: whatever way a constant is written, nothing of it is shown`, () => {
    for (const [sql, shown] of statements[mode]) {
      const text = show(statementText(sql, mode));
      assert.equal(text, shown, sql);
      assert.doesNotMatch(text ?? "", /secret/);
    }
  });
}

test("a statement without anything of the kind stays as it is", () => {
  const sql = "UPDATE app.user_session SET n = n + 1 WHERE id = 4";
  for (const mode of ["mysql", "oracle"] as const) assert.equal(statementText(sql, mode), sql);
});
