package dev.millstream;

import java.lang.System.Logger.Level;
import java.util.concurrent.Executor;

/** Runs every task: on the user's executor, or here when that one refuses. */
record ReliableExecutor(Executor executor) implements Executor {
    @Override
    public void execute(Runnable task) {
        try {
            executor.execute(task);
        } catch (RuntimeException e) {
            // A completion that is lost would leave somebody waiting for ever.
            System.getLogger("dev.millstream")
                    .log(Level.WARNING, "the executor of a channel refused a task", e);
            task.run();
        }
    }
}
