/*
 * Drives the demo page in Chromium: a visitor has a browser profile of his own, whose storage stays when the browser is
 * closed. Whatever the console or the policy complains about is collected, and so is every shift of the layout.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build, chromium, chromiumOptions, developmentPackage, root, temporaryFolder } from '../package/lib/tools.mjs';

/**
 * Starts demo/serve.mjs on any free port: { address, sent, stop }. sent: the files that were sent, { status, bytes,
 * path, range } by the server's own count.
 */
export async function startServer() {
    const dist = process.env.VELTA_DEMO_PACKAGE ?? join(build, 'package/dist');
    if (!existsSync(join(dist, 'velta.js'))) throw new Error(`there is no package in ${dist}: run make package`);
    const data = join(build, 'demo/data');
    if (!existsSync(join(data, 'packages.parquet'))) throw new Error(`there is no data in ${data}: run make demo`);
    const places = ['--package', dist, '--data', data];
    const program = spawn(process.execPath, [join(root, 'demo/serve.mjs'), '--port', '0', '--log', ...places], {
        stdio: ['ignore', 'pipe', 'inherit'],
    });
    const sent = [];
    const address = await new Promise((found, fail) => {
        createInterface({ input: program.stdout }).on('line', (line) => {
            const said = /http:\/\/localhost:\d+\//.exec(line);
            if (said) found(said[0]);
            const [, status, bytes, path, range] = /^(\d{3}) (\d+) (\S+) (.*)$/.exec(line) ?? [];
            if (status) sent.push({ status: Number(status), bytes: Number(bytes), path, range });
        });
        program.on('exit', (code) => fail(new Error(`the server ended with ${code}`)));
    });
    const stop = async () => {
        const ended = new Promise((done) => program.once('exit', done));
        program.kill('SIGINT');
        return ended;
    };
    return { address, sent, stop };
}

/** Runs in the page before anything else. */
function watchPage() {
    const seen = { shifts: [], violations: [] };
    Object.defineProperty(window, 'seen', { value: seen });
    document.addEventListener('securitypolicyviolation', (event) =>
        seen.violations.push(`${event.violatedDirective}: ${event.blockedURI}`),
    );
    new PerformanceObserver((list) => {
        for (const { value, hadRecentInput, sources } of list.getEntries()) {
            const places = sources.map(({ node }) => node?.id || node?.className || node?.nodeName);
            seen.shifts.push({ value, hadRecentInput, places });
        }
    }).observe({ type: 'layout-shift', buffered: true });
}

export class Visitor {
    /** @param {{ address: string, profile?: string, context?: object }} options context: as Playwright's */
    static async arrive({ address, profile, context = {} }) {
        const visitor = new Visitor();
        visitor.address = address;
        visitor.profile = profile ?? (await temporaryFolder());
        visitor.complaints = [];
        visitor.requests = [];
        const { default: playwright } = await developmentPackage('playwright-core');
        visitor.context = await playwright.chromium.launchPersistentContext(visitor.profile, {
            executablePath: chromium,
            headless: true,
            args: chromiumOptions,
            viewport: { width: 1440, height: 900 },
            ...context,
        });
        await visitor.context.addInitScript(watchPage);
        visitor.page = visitor.context.pages()[0] ?? (await visitor.context.newPage());
        visitor.watch(visitor.page);
        return visitor;
    }

    watch(page) {
        page.setDefaultTimeout(30_000);
        page.on('console', (message) => {
            if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text());
        });
        page.on('pageerror', (error) => this.complaints.push(String(error.stack ?? error)));
        page.on('request', (request) => this.requests.push(new URL(request.url()).pathname));
    }

    /** Opens the page and waits until it can be used. @param {string} [wishes] what follows the address */
    async open(wishes = '') {
        await this.page.goto(this.address + wishes);
        await this.page.waitForSelector('.is-ready, #loading-button:enabled', { state: 'attached' });
        if (await this.page.isVisible('#loading-button')) await this.load();
    }

    /** Loads the packages where the page asks which. @param {string} [section] default all */
    async load(section = '') {
        await this.page.waitForSelector('#loading-button:enabled:text("Load the packages")');
        await this.page.selectOption('#loading-section', section);
        await this.page.click('#loading-button');
        await this.ready();
    }

    async reload() {
        this.requests.length = 0;
        await this.page.reload();
        await this.ready();
    }

    async ready() {
        await this.page.waitForSelector('.is-ready', { state: 'attached', timeout: 120_000 });
        await this.settled();
    }

    /** Resolves when the list has not changed for a moment and no search is under way. */
    async settled() {
        await this.page.evaluate(
            () =>
                new Promise((done) => {
                    const end = () => {
                        if (document.getElementById('packages').ariaBusy === 'true') return again();
                        observer.disconnect();
                        done();
                    };
                    let timer = setTimeout(end, 150);
                    const again = () => {
                        clearTimeout(timer);
                        timer = setTimeout(end, 150);
                    };
                    const observer = new MutationObserver(again);
                    observer.observe(document.getElementById('results'), {
                        subtree: true,
                        childList: true,
                        characterData: true,
                        attributes: true,
                    });
                }),
        );
    }

    async type(text) {
        await this.page.fill('#query', '');
        await this.page.locator('#query').pressSequentially(text, { delay: 5 });
        await this.settled();
    }

    /** The list as it is shown. */
    list() {
        return this.page.evaluate(() =>
            [...document.querySelectorAll('.package')].map((place) => ({
                name: place.querySelector('.name').textContent,
                score: place.querySelector('.score').textContent,
                summary: place.querySelector('.summary').textContent,
                voted: place.querySelector('.up').getAttribute('aria-pressed') === 'true',
                canVote: place.querySelector('.up').getAttribute('aria-disabled') !== 'true',
            })),
        );
    }

    text(selector) {
        return this.page.evaluate((id) => document.querySelector(id).textContent.replace(/\s+/g, ' ').trim(), selector);
    }

    /** The choices of a facet: name → [count shown, checked]. */
    async choices(facet) {
        return new Map(
            await this.page.evaluate(
                (id) =>
                    [...document.querySelectorAll(`#${id}-choices .choice`)].map((item) => [
                        item.querySelector('.choice-name').textContent,
                        [
                            Number(item.querySelector('.choice-count').textContent.replaceAll(',', '')),
                            item.querySelector('input').checked,
                        ],
                    ]),
                facet,
            ),
        );
    }

    async choose(facet, name) {
        await this.page
            .locator(`#${facet}-choices label`)
            .filter({ hasText: new RegExp(`^${name}[\\d,\\s]*$`) })
            .locator('input')
            .click();
        await this.settled();
    }

    /** A value of the panel's lists. */
    fact(name) {
        return this.page.evaluate((wanted) => {
            const found = [...document.querySelectorAll('.facts > div')].find(
                (fact) => fact.querySelector('dt').textContent === wanted,
            );
            return found.querySelector('dd').textContent.replaceAll('\u00a0', ' ');
        }, name);
    }

    seen() {
        return this.page.evaluate(() => window.seen);
    }

    async leave() {
        await this.context.close();
    }
}
