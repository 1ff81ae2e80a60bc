// A bound on how long something may take.

/** What comes of `work`, or `late()` as the reason why nothing did. */
export async function within(seconds, work, late = (text) => new Error(text)) {
    let timer;
    const over = new Promise((_, reject) => {
        timer = setTimeout(() => reject(late(`not done after ${seconds} seconds`)), seconds * 1000);
    });
    try {
        return await Promise.race([work, over]);
    } finally {
        clearTimeout(timer);
    }
}
