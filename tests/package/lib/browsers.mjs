/*
 * The two browsers, driven alike: launch('chromium' | 'firefox') → { open(url), close() }, where open gives
 * { page, errors, evaluate(f, ...arguments), close(), crash() }. Each launch has a new profile, so storage starts
 * empty and lives as long as the browser.
 */
import { existsSync } from 'node:fs';
import { chromium, chromiumOptions, developmentPackage, temporaryFolder } from './tools.mjs';

const PROGRAMS = { chromium, firefox: '/usr/bin/firefox-esr' };
const CHROMIUM_OPTIONS = [...chromiumOptions, '--js-flags=--expose-gc'];

async function launchChromium(program) {
    const { default: playwright } = await developmentPackage('playwright-core');
    const context = await playwright.chromium.launchPersistentContext(await temporaryFolder(), {
        executablePath: program,
        headless: true,
        args: CHROMIUM_OPTIONS,
    });
    return {
        newPage: () => context.newPage(),
        close: () => context.close(),
        crash: async (page) => {
            const session = await context.newCDPSession(page);
            session.send('Page.crash').catch(() => undefined); // it never answers
            await new Promise((done) => page.once('crash', done));
            await page.close();
        },
    };
}

async function launchFirefox(program) {
    const { default: puppeteer } = await developmentPackage('puppeteer-core');
    const browser = await puppeteer.launch({
        browser: 'firefox',
        protocol: 'webDriverBiDi',
        executablePath: program,
        headless: true,
        userDataDir: await temporaryFolder(),
        // A page that asks for the permission to keep its storage is not answered by a dialogue here.
        extraPrefsFirefox: {
            'dom.storageManager.prompt.testing': true,
            'dom.storageManager.prompt.testing.allow': true,
        },
    });
    return {
        newPage: () => browser.newPage(),
        close: () => browser.close(),
        crash: (page) => page.close(),
    };
}

export async function launch(engine) {
    const program = process.env[`VELTA_${engine.toUpperCase()}`] ?? PROGRAMS[engine];
    if (!existsSync(program))
        throw new Error(`${engine} is not installed (${program}), and its tests cannot be left out`);
    const browser = await (engine === 'chromium' ? launchChromium : launchFirefox)(program);
    const open = async (url) => {
        const page = await browser.newPage();
        const errors = [];
        page.on('console', (message) => {
            if (['error', 'warn', 'warning'].includes(message.type())) errors.push(message.text());
        });
        page.on('pageerror', (error) => errors.push(String(error.stack ?? error)));
        await page.goto(url);
        return {
            page,
            errors,
            evaluate: (code, ...parameters) => page.evaluate(code, ...parameters),
            close: () => page.close(),
            crash: () => browser.crash(page),
        };
    };
    return { open, close: () => browser.close() };
}
