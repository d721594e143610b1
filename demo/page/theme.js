/* Runs before the page is painted: the colours chosen last, so that they do not change while it loads. */
(function () {
    let chosen = null;
    try {
        chosen = localStorage.getItem('theme');
    } catch {
        // Storage is refused: the system's colours.
    }
    if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
})();
