"""Import and export of CSV in the admin: look first, then confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from import_export.admin import ImportExportMixin
from import_export.forms import ImportForm
from import_export.tmp_storages import CacheStorage

from strategies.sheets import Sheet

if TYPE_CHECKING:
    from marketdata.admin_base import Admin as _Mixin
else:
    _Mixin = ImportExportMixin

_MOST_BYTES = 512 * 1024


class Gone(Exception):
    """The file that was looked at is not kept any more."""


class Kept(CacheStorage):  # type: ignore[misc]  # the package has no types
    """The file between look and confirmation: in the cache, so that no name leads to any other file."""

    CACHE_LIFETIME = 15 * 60

    def read(self) -> Any:
        """Return the file; raises ``Gone``."""
        if (found := super().read()) is None:
            raise Gone
        return found


class FileForm(ImportForm):  # type: ignore[misc]  # likewise
    """Where the file is chosen."""

    def clean_import_file(self) -> Any:
        """Refuse what would be read for minutes."""
        file = self.cleaned_data["import_file"]
        if (file.size or 0) > _MOST_BYTES:
            raise forms.ValidationError(f"The file is larger than {_MOST_BYTES // 1024} kB: split it.")
        return file


class WithSheets(_Mixin):
    """Adds *Import* (for who may add rows) and *Export* (for who may see them; what is filtered and searched)."""

    formats = import_formats = export_formats = (Sheet,)
    skip_export_form = True
    import_form_class = FileForm
    import_template_name = "admin/sheet.html"
    tmp_storage_class = Kept

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Import what was looked at."""
        try:
            answer: HttpResponse = super().process_import(request, **kwargs)  # type: ignore[misc]
        except Gone:
            self.message_user(request, "That took too long: choose the file again.", messages.ERROR)
            return HttpResponseRedirect("../import/")
        return answer

    def process_result(self, result: Any, request: HttpRequest) -> HttpResponse:
        """Say what came of it: all of it, or nothing and why."""
        refused = [str(error.error) for error in result.base_errors]
        refused += [f"row {row.number}: {'; '.join(row.error.messages)}" for row in result.invalid_rows]
        refused += [f"row {number}: {one.error}" for number, errors in result.row_errors() for one in errors]
        if not refused:
            answer: HttpResponse = super().process_result(result, request)  # type: ignore[misc]
            return answer
        self.message_user(request, f"The import has stopped. {' '.join(refused[:3])}", messages.ERROR)
        return HttpResponseRedirect("../import/")
