/*
 * The two browsers, driven alike: launch('chromium' | 'firefox', options) → { open(url), close(), kill() }, where open
 * gives { page, errors, evaluate(f, ...arguments), close(), crash() }.
 *
 * Each launch has a new profile, so storage starts empty and lives as long as the browser; with { profile }, a folder,
 * it is that one's. { isPrivate } opens private windows. { answerMs } is how long the answer to one command is waited
 * for, which may be a whole spec's run. kill() sends SIGKILL to the process group that this launch
 * started, and to nothing else.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chromium, chromiumOptions, developmentPackage, temporaryFolder } from './tools.mjs';

const PROGRAMS = { chromium, firefox: '/usr/bin/firefox-esr' };
const ANSWER_MS = 600_000;

function launchChromium(puppeteer, options) {
    return puppeteer.launch({
        ...options,
        browser: 'chrome',
        pipe: true,
        args: [...chromiumOptions, '--js-flags=--expose-gc'],
    });
}

function launchFirefox(puppeteer, options, isPrivate) {
    return puppeteer.launch({
        ...options,
        browser: 'firefox',
        protocol: 'webDriverBiDi',
        // A page that asks for the permission to keep its storage is not answered by a dialogue here. What a killed
        // browser leaves behind does not make the next one start in safe mode, or with the tabs of before.
        extraPrefsFirefox: {
            'dom.storageManager.prompt.testing': true,
            'dom.storageManager.prompt.testing.allow': true,
            'toolkit.startup.max_resumed_crashes': -1,
            'browser.sessionstore.resume_from_crash': false,
            'browser.privatebrowsing.autostart': isPrivate,
        },
    });
}

/** Ends the process of a page, where the protocol has a command for it; elsewhere the tab is closed. */
async function crash(engine, page) {
    if (engine === 'chromium') {
        const session = await page.createCDPSession();
        const crashed = new Promise((done) => page.once('error', done));
        session.send('Page.crash').catch(() => undefined); // it never answers
        await crashed;
    }
    await page.close();
}

async function openTab(engine, page, url) {
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
        crash: () => crash(engine, page),
    };
}

export async function launch(engine, { profile, isPrivate = false, answerMs = ANSWER_MS } = {}) {
    const program = process.env[`VELTA_${engine.toUpperCase()}`] ?? PROGRAMS[engine];
    if (!existsSync(program))
        throw new Error(`${engine} is not installed (${program}), and its tests cannot be left out`);
    const { default: puppeteer } = await developmentPackage('puppeteer-core');
    const options = {
        executablePath: program,
        headless: true,
        defaultViewport: null,
        protocolTimeout: answerMs,
        userDataDir: profile ?? (await temporaryFolder()),
    };
    const isChromium = engine === 'chromium';
    const browser = await (isChromium ? launchChromium : launchFirefox)(puppeteer, options, isPrivate);
    const context = isPrivate && isChromium ? await browser.createBrowserContext() : browser;
    const child = browser.process();
    return {
        open: async (url) => openTab(engine, await context.newPage(), url),
        close: () => browser.close(),
        kill: async () => {
            if (child.exitCode !== null || child.signalCode !== null) return; /* it has ended by itself */
            const ended = once(child, 'exit');
            process.kill(-child.pid, 'SIGKILL');
            await ended;
        },
    };
}
