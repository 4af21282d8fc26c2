package dev.millstream;

import dev.millstream.internal.Native;
import dev.millstream.internal.NativeCall;
import java.lang.ref.Reference;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;

/** Takes the one response of a call that nobody else knows, and releases it. */
final class Single {
    private static final Status OK = new Status(StatusCode.OK, "", new byte[0], Metadata.empty());

    private Single() {}

    /** How a call ended: with its response, or with a status that is not OK. */
    private record End(byte[] response, Status status) {
        /** Null while the call goes on. Releases it otherwise. */
        static End of(NativeCall call) {
            byte[] response = call.result();
            Status status = null;
            if (response == null) {
                status = call.statusNow();
                if (status == null) {
                    return null;
                }
                // The call may have ended between the two looks.
                response = call.result();
            }
            if (response != null) {
                call.releaseAs(OK);
            } else {
                call.release();
            }
            return new End(response, status);
        }

        <R> R get(Method<?, R> method) {
            if (response == null) {
                throw new MillstreamException(status, null);
            }
            try {
                return method.parse(response, 0, response.length);
            } catch (Exception e) {
                throw method.doesNotParse(e);
            }
        }
    }

    static <R> R await(NativeCall call, Method<?, R> method) {
        try {
            while (true) {
                call.await(Native.STATUS, NativeCall.FOREVER);
                End end = End.of(call);
                if (end != null) {
                    return end.get(method);
                }
            }
        } finally {
            call.release();
        }
    }

    /** Keeps the channel reachable as long as somebody waits for the future. */
    static <R> CompletableFuture<R> async(
            Channel channel, NativeCall call, Method<?, R> method, Executor executor) {
        CompletableFuture<R> future = new CompletableFuture<>();
        // However it completes, by the application too, the call is over.
        future.whenComplete(
                (response, failure) -> {
                    call.close();
                    Reference.reachabilityFence(channel);
                });
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
                        End end = End.of(call);
                        if (end == null) {
                            complete(future, call, method, executor);
                        } else {
                            executor.execute(() -> complete(future, end, method));
                        }
                    } catch (Throwable e) {
                        future.completeExceptionally(e);
                    }
                });
    }

    private static <R> void complete(CompletableFuture<R> future, End end, Method<?, R> method) {
        try {
            future.complete(end.get(method));
        } catch (Throwable e) {
            future.completeExceptionally(e);
        }
    }

    static boolean isCallEnded(Throwable failure) {
        Throwable reason = failure instanceof CompletionException ? failure.getCause() : failure;
        return reason instanceof MillstreamException e && e.code() == ErrorCode.CALL_ENDED;
    }
}
