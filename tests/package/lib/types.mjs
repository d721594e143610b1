/*
 * The declarations as TypeScript programs meet them: typeFixtures(folder) gives tests by name. Programs of each kind
 * (fixtures/types) are compiled against the installed tarball with the settings that are in use, the declarations
 * themselves checked too; and every value that is declared must be there, for import and for require alike.
 */
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { developmentPackage, execute, makeProject, modules } from './tools.mjs';

const SETTINGS = {
    'moduleResolution bundler': {
        module: 'esnext',
        moduleResolution: 'bundler',
        include: ['bundler.ts', 'types.test.ts'],
    },
    'module node16': { module: 'node16', include: ['program.mts', 'program.cts'] },
    'module nodenext': { module: 'nodenext', include: ['program.mts', 'program.cts'] },
};

async function typeProject(folder) {
    const project = await makeProject({ copy: { '.': join(folder, 'types') } });
    // The same text as seen by three kinds of program.
    const text = join(project, 'program.ts');
    for (const name of ['bundler.ts', 'program.mts', 'program.cts']) await cp(text, join(project, name));
    // What a schema makes of rows, filters and searches.
    await cp(join(folder, '../types/types.test.ts'), join(project, 'types.test.ts'));
    return project;
}

async function compile(folder, { include, ...settings }) {
    const project = await typeProject(folder);
    const compilerOptions = {
        ...settings,
        target: 'es2022',
        lib: ['es2022', 'dom', 'dom.iterable'],
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        noEmit: true,
    };
    await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: include }));
    await execute(process.execPath, [join(modules, 'typescript/bin/tsc'), '-p', project]);
}

/** The names of the values that a program of the given kind may import. */
async function declaredValues(project, file) {
    const { default: ts } = await developmentPackage('typescript');
    const options = {
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        strict: true,
    };
    const program = ts.createProgram([join(project, file)], options);
    const checker = program.getTypeChecker();
    const source = program.getSourceFile(join(project, file));
    const specifier = source.statements.find(ts.isImportDeclaration).moduleSpecifier;
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(specifier));
    const isValue = (symbol) => {
        const real = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
        return (real.flags & ts.SymbolFlags.Value) !== 0;
    };
    return exported.filter(isValue).map((symbol) => symbol.name);
}

async function compareValues(folder, file, code) {
    const project = await typeProject(folder);
    const { stdout } = await execute(process.execPath, ['-e', code], { cwd: project });
    const there = JSON.parse(stdout).filter((name) => name !== 'default' && name !== 'module.exports');
    const declared = await declaredValues(project, file);
    const difference = [
        ...declared.filter((name) => !there.includes(name)).map((name) => `${name} is declared and not there`),
        ...there.filter((name) => !declared.includes(name)).map((name) => `${name} is there and not declared`),
    ];
    if (difference.length || declared.length < 20)
        throw new Error(difference.join('\n') || `only ${declared.length} values`);
}

export function typeFixtures(folder) {
    const tests = {};
    for (const [name, settings] of Object.entries(SETTINGS)) {
        tests[`TypeScript, ${name}`] = () => compile(folder, settings);
    }
    const print = 'console.log(JSON.stringify(Object.keys(velta)))';
    tests['TypeScript, what is declared is there to import'] = () =>
        compareValues(folder, 'program.mts', `import('velta').then((velta) => ${print})`);
    tests['TypeScript, what is declared is there to require'] = () =>
        compareValues(folder, 'program.cts', `const velta = require('velta'); ${print}`);
    return tests;
}
