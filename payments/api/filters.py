"""Query filters of the payment lists."""

from __future__ import annotations

import django_filters
from django.db.models import QuerySet
from rest_framework.request import Request

from payments.models import Payment
from payments.states import PaymentState
from zentra.core.errors import InvalidFormat


class PaymentFilters(django_filters.FilterSet):
    """`status` is the authorization axis; dates are ISO 8601 and compared with the time of creation."""

    status = django_filters.ChoiceFilter(
        field_name="state", choices=[(state.value, state.value) for state in PaymentState]
    )
    currency = django_filters.CharFilter()
    reference = django_filters.CharFilter()
    customer_id = django_filters.CharFilter(field_name="customer__reference")
    start_date = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    end_date = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Payment
        fields = ("status", "currency", "reference", "customer_id", "start_date", "end_date")


def filtered_payments(request: Request, rows: QuerySet[Payment]) -> QuerySet[Payment]:
    """The rows that the query asks for. :raises InvalidFormat: names the first filter that cannot be read"""
    form = PaymentFilters(request.query_params, queryset=rows)
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        raise InvalidFormat(f"{field}: {errors[0]}", field=field)
    return form.qs
