"""The base of interceptors. An interceptor wraps each method's behaviour in the one that gRPC calls."""

import abc
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class Interceptor(grpc.aio.ServerInterceptor, abc.ABC):
    """The CRI's calls have one request, and one response or a stream of them."""

    @abc.abstractmethod
    def around_call(self, method: str, behaviour: Any) -> Any:
        """Return the behaviour to call instead, with the request and the context."""

    @abc.abstractmethod
    def around_stream(self, method: str, behaviour: Any) -> Any:
        """Return the behaviour to call instead of one that yields responses."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """The method's handler; gRPC answers for methods that do not exist."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method.rpartition("/")[2]
        if handler is None:
            return handler
        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self.around_stream(method, handler.unary_stream), *codec)
        return grpc.unary_unary_rpc_method_handler(self.around_call(method, handler.unary_unary), *codec)
