"""Functions that run at the same time."""

import threading


def together(*functions):
    """Run functions at the same time; fail if one of them does not come to an end."""
    results, start = {}, threading.Barrier(len(functions))

    def run(i, function):
        start.wait(10)
        try:
            results[i] = function()
        except BaseException as error:
            results[i] = error

    threads = [
        threading.Thread(target=run, args=pair, daemon=True)
        for pair in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "dead-locked"
    return [results[i] for i in range(len(functions))]
