/*
 * The house rules for TypeScript and JavaScript that need more than lines to check: it compiles, prettier would leave
 * it alone, and the rules below, which read the syntax tree. Each of those first has to catch a canary, a text made to
 * break it, and to pass a sound one. Lengths of lines and files, and head comments, are rules.py's.
 * The last line is "N passed, N failed".
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const fromWasm = createRequire(new URL('../../wasm/package.json', import.meta.url));
const ts = fromWasm('typescript');
const MAX_FUNCTION_LINES = 70;

/** Every node of a syntax tree. */
function* nodes(node) {
    yield node;
    const children = [];
    ts.forEachChild(node, (child) => void children.push(child));
    for (const child of children) yield* nodes(child);
}

const isPackage = (name) => name.startsWith('wasm/src/');

/** What is called within a suite: `it`, `it(…).timeout`, `only(…).it`. */
const SUITE = /^(it|describe)\b|\b(it|describe)$/;
/** Whether a function is what a suite of tests consists of, by the calls in it: those may be as long as the suite. */
function isSuite(node) {
    const calls = (ts.isBlock(node.body) ? node.body.statements : []).map((statement) => statement.expression);
    return calls.some((call) => call && ts.isCallExpression(call) && SUITE.test(call.expression.getText()));
}

/** rule: [whose files, what it objects to in a node (or nothing)]. */
const RULES = {
    no_any: [isPackage, (node) => node.kind === ts.SyntaxKind.AnyKeyword && 'any: unknown, or what it is'],
    no_default_export: [
        (name) => isPackage(name) && !name.endsWith('.d.ts'),
        (node) =>
            (ts.isExportAssignment(node) || node.kind === ts.SyntaxKind.DefaultKeyword) &&
            !ts.isDefaultClause(node) &&
            'a default export: names are the same everywhere',
    ],
    no_node_import: [
        isPackage,
        (node) => {
            const isImport = (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier;
            const isCall = ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword;
            const target = isImport ? node.moduleSpecifier : isCall ? node.arguments[0] : null;
            return (
                target &&
                /^['"`]node:/.test(target.getText()) &&
                "bundlers follow it: ask for Node's modules at run time"
            );
        },
    ],
    no_evaluation: [
        isPackage,
        (node) =>
            (ts.isCallExpression(node) || ts.isNewExpression(node)) &&
            /^(eval|Function)$/.test(node.expression.getText()) &&
            'a strict Content-Security-Policy forbids it',
    ],
    // A thread's failure is an event of its worker; no one catches it.
    velta_errors: [
        (name) => isPackage(name) && name !== 'wasm/src/thread.ts',
        (node) =>
            ts.isThrowStatement(node) &&
            ts.isNewExpression(node.expression) &&
            node.expression.expression.getText() !== 'VeltaError' &&
            'every error thrown is a VeltaError',
    ],
    function_length: [
        () => true,
        (node, source) => {
            if (!ts.isFunctionLike(node) || !node.body || isSuite(node)) return false;
            const line = (position) => source.getLineAndCharacterOfPosition(position).line;
            const lines = line(node.end) - line(node.getStart()) + 1;
            return lines > MAX_FUNCTION_LINES && `a function of ${lines} lines (at most ${MAX_FUNCTION_LINES})`;
        },
    ],
    documented: [
        (name) => isPackage(name) && !name.includes('/generated/') && !name.endsWith('.d.ts'),
        (node) => {
            const isPublic = node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
            if (!isPublic || !(ts.isClassDeclaration(node) || ts.isFunctionDeclaration(node))) return false;
            return !ts.getJSDocCommentsAndTags(node).length && `${node.name?.getText()} is exported and says nothing`;
        },
    ],
};

const long = `function f() {\n${'    g();\n'.repeat(MAX_FUNCTION_LINES)}}\n`;
/** rule: texts that break it; all of them as wasm/src/canary.ts. */
const CANARIES = {
    no_any: ['let a: any;', 'function f(a: Map<string, any>) {}', 'const a = b as any;'],
    no_default_export: ['export default 1;', 'export default class {}', 'export default function f() {}'],
    no_node_import: [
        "import { join } from 'node:path';",
        "const fs = await import('node:fs');",
        "export * from 'node:fs';",
    ],
    no_evaluation: ["eval('1');", "const f = new Function('return 1');"],
    velta_errors: ["throw new Error('no');", "function f() { throw new TypeError('no'); }"],
    function_length: [long, `class A {\n${long.replace('function f', 'm')}}`],
    documented: ['export function f(): void {}', '// Not for readers of the reference.\nexport class A {}'],
};
const SOUND = `/** Says what it is. */
export class A {
    any: unknown = 'any';
    f(): void {
        if (this.any) throw new VeltaError('INVALID', 'no');
        switch (1) { default: }
    }
}
describe('suite', () => {
    it('is', f);
${'    g();\n'.repeat(MAX_FUNCTION_LINES)}});
`;

function* violations(rule, name, text) {
    const [isMine, objection] = RULES[rule];
    if (!isMine(name)) return;
    const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
    for (const node of nodes(source)) {
        const what = objection(node, source);
        if (what) yield `${name}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${what}`;
    }
}

const count = { passed: 0, failed: 0 };
function report(ok, text, details = []) {
    count[ok ? 'passed' : 'failed']++;
    console.log(`${ok ? 'ok  ' : 'FAIL'} ${text}`);
    details.forEach((line) => console.log(`     ${line}`));
}

/** Runs one of wasm's tools; its complaints, or none. */
function complaints(tool, parameters, options = {}) {
    try {
        execFileSync(process.execPath, [fromWasm.resolve(tool), ...parameters], { stdio: 'pipe', ...options });
        return [];
    } catch (error) {
        return `${error.stdout}${error.stderr}`.trim().split('\n');
    }
}

for (const [rule, texts] of Object.entries(CANARIES)) {
    const unseen = texts.filter((text) => ![...violations(rule, 'wasm/src/canary.ts', text)].length);
    const wrong = [...violations(rule, 'wasm/src/canary.ts', SOUND)];
    report(!unseen.length && !wrong.length, `canaries of ${rule}`, [
        ...unseen.map((text) => `unseen: ${text}`),
        ...wrong,
    ]);
}
const tracked = execFileSync('git', ['ls-files', '-z', '*.ts', '*.js', '*.mjs', '*.cjs'], { encoding: 'utf8' });
const files = tracked.split('\0').filter((name) => name && existsSync(name));
report(files.length > 30, `${files.length} files are looked at`);
for (const rule of Object.keys(RULES)) {
    const found = files.flatMap((name) => [...violations(rule, name, readFileSync(name, 'utf8'))]);
    report(found.length === 0, rule, found);
}
const typed = complaints('typescript/bin/tsc', ['-p', 'wasm/tsconfig.json']);
report(typed.length === 0, 'it compiles', typed);
const style = ['--config', '.prettierrc.json', '--check', '--ignore-path', '/dev/null'];
const input = 'const a = "double";';
const canary = complaints('prettier/bin/prettier.cjs', [...style, '--stdin-filepath', 'a.ts'], {
    input,
    stdio: 'pipe',
});
report(canary.length > 0, 'canary of the layout');
const laidOut = complaints('prettier/bin/prettier.cjs', [...style, ...files]);
report(laidOut.length === 0, 'prettier would leave it alone', laidOut);
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exit(count.failed ? 1 : 0);
