package dev.millstream;

import dev.millstream.internal.Native;
import dev.millstream.internal.NativeCall;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;

/** Takes the one response of a call that nobody else knows, and releases it. */
final class Single {
    private Single() {}

    static <R> R await(NativeCall call, Method<?, R> method) {
        try {
            while (true) {
                // The end is looked at first: a call that ends between the two looks has its
                // response then.
                Status status = call.statusNow();
                byte[] response = call.result();
                if (response != null) {
                    return parse(method, response);
                }
                if (status != null) {
                    throw new MillstreamException(status, null);
                }
                call.await(Native.STATUS, NativeCall.FOREVER);
            }
        } finally {
            call.release();
        }
    }

    static <R> CompletableFuture<R> async(NativeCall call, Method<?, R> method, Executor executor) {
        CompletableFuture<R> future = new CompletableFuture<>();
        // However it completes, by the application too, the call is over.
        future.whenComplete((response, failure) -> call.close());
        complete(future, call, method, executor);
        return future;
    }

    private static <R> void complete(
            CompletableFuture<R> future, NativeCall call, Method<?, R> method, Executor executor) {
        call.watch(
                Native.STATUS,
                () -> {
                    if (future.isDone()) {
                        return;
                    }
                    try {
                        Status status = call.statusNow();
                        byte[] response = call.result();
                        if (response != null) {
                            executor.execute(() -> parse(future, method, response));
                        } else if (status != null) {
                            executor.execute(
                                    () ->
                                            future.completeExceptionally(
                                                    new MillstreamException(status, null)));
                        } else {
                            complete(future, call, method, executor);
                        }
                    } catch (Throwable e) {
                        future.completeExceptionally(e);
                    }
                });
    }

    private static <R> void parse(
            CompletableFuture<R> future, Method<?, R> method, byte[] response) {
        try {
            future.complete(parse(method, response));
        } catch (Throwable e) {
            future.completeExceptionally(e);
        }
    }

    private static <R> R parse(Method<?, R> method, byte[] response) {
        try {
            return method.parse(response, 0, response.length);
        } catch (Exception e) {
            throw method.doesNotParse(e);
        }
    }

    static boolean isCallEnded(Throwable failure) {
        Throwable reason = failure instanceof CompletionException ? failure.getCause() : failure;
        return reason instanceof MillstreamException e && e.code() == ErrorCode.CALL_ENDED;
    }
}
